"""What all readers have in common: formats are told apart, and bad files are refused."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import clean_entity
from spacy_metric_el.kb.importers import FORMATS, ReadOptions, read_entities

from ...util import write_file as write
from .sources import OBO, raised, read_or_code, record

DATA = Path(__file__).parents[4] / "shared" / "data" / "kb"


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


@pytest.mark.parametrize(
    ("name", "text"), [("kb.obo", "format-version: 1.2\n"), ("kb.jsonl", "\n")]
)
def test_a_file_without_concepts_is_refused(tmp_path, name, text):
    error = raised(write(tmp_path / name, text), options=ReadOptions(id_prefix=""))
    assert error.code == "E111"
    assert name in str(error)


@given(st.binary() | st.text().map(str.encode) | st.text('{}[]":,\\ud80 \n').map(str.encode))
def test_any_bytes_parse_or_raise_a_coded_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    for name in ("kb.jsonl", "kb.obo"):
        path = write(folder / name, data)
        entities, code = read_or_code(path)
        assert entities or code
        assert [clean_entity(entity) for entity in entities] == entities


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared development data")
@pytest.mark.parametrize(("name", "count"), [("open_kb.jsonl", 38_515), ("mesh.jsonl", 354_068)])
def test_real_vocabularies_stream_through(name, count):
    assert sum(1 for _ in read_entities(DATA / name)) == count
