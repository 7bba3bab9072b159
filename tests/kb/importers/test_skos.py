import gzip
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import clean_entity
from spacy_metric_el.kb.importers.options import ReadOptions
from spacy_metric_el.kb.importers.skos import read_skos

from ...util import write_file as write

rdflib = pytest.importorskip("rdflib")

PREFIXES = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix : <http://example.org/terms/> .
"""
TURTLE = f"""{PREFIXES}
:fever a skos:Concept ;
    skos:prefLabel "Fieber"@de, "Fever"@en ;
    skos:altLabel "Pyrexia", "Fièvre"@fr, "High\\ntemperature"@en-GB ;
    skos:hiddenLabel "Feever"@en ;
    skos:definition "Zu heiß."@de, "Too hot."@en ;
    skos:inScheme <http://example.org/schemes#findings> .
:cough a skos:Concept ; skos:prefLabel "Cough"@en ; skos:notation "N2" .
:gone a skos:Concept ; skos:prefLabel "Gone"@en ; owl:deprecated true .
:toux a skos:Concept ; skos:prefLabel "Toux"@fr .
:nameless a skos:Concept ; skos:prefLabel " "@en .
:top a skos:Collection ; skos:prefLabel "Findings"@en .
[] a skos:Concept ; skos:prefLabel "Without a URI"@en .
"""
CONCEPTS = [
    ("fever", "Fever", ["Fever", "Pyrexia", "High temperature", "Feever"], ["findings"]),
    ("N2", "Cough", ["Cough"], []),
]


def read(path, text, **options):
    return list(read_skos(write(path, text), ReadOptions(**options)))


def read_ids(path, *statements, **options):
    concepts = [f":c{i} a skos:Concept ; {text} ." for i, text in enumerate(statements, 1)]
    found = read(path, PREFIXES + "\n".join(concepts), **options)
    return {entity.concept_id: entity.aliases for entity in found}


def raised(path, text, **options):
    with pytest.raises(MetricELError, match=path.name) as caught:
        read(path, text, **options)
    return caught.value.code, str(caught.value)


def read_or_code(path):
    try:
        return list(read_skos(path)), ""
    except MetricELError as error:
        return [], error.code


def make_turtle_as(format_):
    # rdflib orders what it writes anew; one label of a kind keeps the order of names.
    graph = rdflib.Graph().parse(data=TURTLE.replace(', "Fièvre"@fr', ""), format="turtle")
    return graph.serialize(format=format_, encoding="utf-8")


@pytest.mark.parametrize("name", ["kb.ttl", "kb.ttl.gz", "kb.skos"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n# Findings\n"])
def test_turtle(tmp_path, name, start):
    found = read(tmp_path / name, start + TURTLE)
    assert [tuple(entity)[:4] for entity in found] == CONCEPTS
    assert [entity.definition for entity in found] == ["Too hot.", None]


@pytest.mark.parametrize(("name", "format_"), [("kb.rdf", "xml"), ("kb.nt.gz", "nt")])
def test_other_syntaxes(tmp_path, name, format_):
    found = read(tmp_path / name, make_turtle_as(format_))
    expected = {concept[0]: set(concept[2]) for concept in CONCEPTS}
    assert {entity.concept_id: set(entity.aliases) for entity in found} == expected


def test_xml_in_another_encoding(tmp_path):
    text = make_turtle_as("xml").decode().replace('"utf-8"', '"iso-8859-1"', 1)
    (entity,) = read(tmp_path / "kb.rdf", text.encode("latin-1"), languages={"de"})[:1]
    assert entity.definition == "Zu heiß."


@pytest.mark.parametrize(
    ("languages", "labels"),
    [
        (["ENG"], ["b", "c", "d"]),
        (["en"], ["b", "c", "d"]),
        (["GER"], ["a", "c"]),
        (["fr", "DE"], ["a", "e", "c"]),
        ([], ["a", "b", "e", "c", "d"]),
    ],
)
def test_labels_of_the_languages_and_those_without_one(tmp_path, languages, labels):
    text = 'skos:prefLabel "a"@de, "b"@en, "e"@fr ; skos:altLabel "c", "d"@en-US'
    assert read_ids(tmp_path / "kb.ttl", text, languages=frozenset(languages)) == {"c1": labels}


def test_an_alias_is_the_name_if_there_is_no_preferred_label(tmp_path):
    text = 'skos:prefLabel "a"@de ; skos:hiddenLabel "c"@en ; skos:altLabel "b"@en'
    assert read_ids(tmp_path / "kb.ttl", text) == {"c1": ["b", "c"]}


FEVER, COUGH = 'skos:prefLabel "Fever"', 'skos:prefLabel "Cough"'


@pytest.mark.parametrize(
    "reference",
    [
        "skos:exactMatch <http://example.org/umls/id/C0001>",
        "skos:exactMatch <http://example.org/x>, <http://example.org/UMLS:C0001>",
        "skos:exactMatch <http://example.org/UMLS#C0001>",
        'skos:notation "N1", "UMLS:C0001"',
    ],
)
@pytest.mark.parametrize("prefix", ["UMLS", "umls:"])
def test_ids_with_the_prefix_are_taken_where_the_file_has_them(tmp_path, reference, prefix):
    found = read_ids(tmp_path / "kb.ttl", f"{FEVER} ; {reference}", COUGH, id_prefix=prefix)
    assert found == {"C0001": ["Fever"]}


def test_a_uri_of_the_concept_may_have_the_prefix(tmp_path):
    text = f'{PREFIXES}<http://x.org/umls/C1> a skos:Concept ; {FEVER} ; skos:notation "N1" .'
    assert read(tmp_path / "kb.ttl", text)[0].concept_id == "C1"
    assert read(tmp_path / "kb.ttl", text, id_prefix="")[0].concept_id == "N1"


def test_the_folder_of_the_file_is_no_part_of_uris(tmp_path):
    folder = tmp_path / "umls"
    folder.mkdir()
    text = f'{PREFIXES}<#a> a skos:Concept ; {FEVER} ; skos:notation "N1" .'
    assert read(folder / "kb.ttl", text)[0].concept_id == "N1"


def test_concepts_that_refer_to_one_id_are_merged(tmp_path):
    match = "skos:exactMatch <http://x.org/umls/C1>"
    other = f"{match}, <http://x.org/umls/C2>"
    found = read_ids(tmp_path / "kb.ttl", f"{FEVER} ; {match}", f"{COUGH} ; {other}")
    assert found == {"C1": ["Fever", "Cough"], "C2": ["Cough"]}


@pytest.mark.parametrize("prefix", ["", "MESH"])
def test_own_ids_are_taken_where_none_has_the_prefix(tmp_path, prefix):
    match = "skos:exactMatch <http://x.org/umls/C1>, <http://x.org/mesh/>"
    found = read_ids(tmp_path / "kb.ttl", f"{FEVER} ; {match}", COUGH, id_prefix=prefix)
    assert found == {"c1": ["Fever"], "c2": ["Cough"]}


def test_rdflib_is_asked_for_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(MetricELError, match=r"pip install spacy-metric-el\[skos\]") as caught:
        read(tmp_path / "kb.ttl", TURTLE)
    assert caught.value.code == "E125"


XML = make_turtle_as("xml").decode()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{TURTLE}:x :y .\n", TURTLE.count("\n") + 1),
        (f"{PREFIXES}:x none:y :z .\n", 4),
        ("<http://a> <http://b> <http://c> .\n<http://a> <http://b> .\n", 2),
        (XML.replace("</rdf:RDF>", "</end>"), XML.count("\n")),
        (XML.replace("</rdf:RDF>", "<rdf:li/></rdf:RDF>"), XML.count("\n")),
        ('<?xml version="1.0" encoding="none"?>\n<a/>\n', None),
        ("[" * 20_000, None),
        (f'{PREFIXES}:x a skos:Concept ; skos:prefLabel "\\ud800" .', None),
    ],
)
def test_what_is_not_rdf_names_the_line_where_it_is_known(tmp_path, text, line):
    code, message = raised(tmp_path / "kb.skos", text)
    assert code == "E126"
    assert (f"kb.skos, line {line}: " if line else "kb.skos: ") in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "options", "languages"),
    [
        ("", {}, "none"),
        (PREFIXES, {}, "none"),
        (TURTLE.replace('"Pyrexia", ', ""), {"languages": {"SPA"}}, "en, fr, de, en-GB"),
        (f'{PREFIXES}:x a skos:Concept ; skos:prefLabel "a"@fr, "b"@de .', {}, "fr, de"),
        (f"{PREFIXES}[] a skos:Concept ; {FEVER} .", {}, "no language"),
        (f"{PREFIXES}:x a skos:Concept ; {FEVER} ; owl:deprecated true .", {}, "none"),
    ],
)
def test_a_file_without_a_concept_to_read_is_refused(tmp_path, text, options, languages):
    code, message = raised(tmp_path / "kb.ttl", text, **options)
    assert code == "E127"
    assert f"in this file: {languages}" in message


@pytest.mark.parametrize("text", [TURTLE, XML])
def test_a_broken_archive_is_refused(tmp_path, text):
    (tmp_path / "kb.gz").write_bytes(gzip.compress(text.encode())[:-9])
    assert read_or_code(tmp_path / "kb.gz") == ([], "E109")


def test_unreadable_files_have_their_codes(tmp_path):
    code, message = raised(tmp_path / "kb.ttl", b"# x\n\xff\n")
    assert (code, "kb.ttl, line 2" in message) == ("E105", True)
    assert read_or_code(tmp_path / "none.ttl") == ([], "E103")


def test_text_of_other_files_is_not_fetched(tmp_path):
    secret = write(tmp_path / "secret", "secret")
    entity = f'<!DOCTYPE x [<!ENTITY x SYSTEM "{secret.as_uri()}">]>\n<rdf:RDF'
    text = XML.replace("<rdf:RDF", entity, 1).replace(">Fever<", ">Fever&x;<")
    assert "&x;" in text
    found = {entity.concept_id: entity.aliases for entity in read(tmp_path / "kb.rdf", text)}
    assert "Fever" in found["fever"]


pieces = st.sampled_from([*TURTLE.split(" "), *XML.split("\n"), '"', "<", "(", "=", "{", "\\ud8"])


@given(st.lists(pieces, max_size=12).map(" ".join), st.sampled_from(["", PREFIXES, "<?xml "]))
def test_shuffled_text_gives_records_or_a_coded_error(tmp_path_factory, text, start):
    path = write(tmp_path_factory.mktemp("any") / "kb", start + text)
    found, code = read_or_code(path)
    assert found or code in ("E126", "E127")
    assert found == [clean_entity(entity) for entity in found]
