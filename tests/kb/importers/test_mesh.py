import gzip
import tracemalloc
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers.mesh import read_mesh
from spacy_metric_el.kb.importers.options import DEFAULTS, ReadOptions

from ...util import write_file as write

DESC_XML = """<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "https://www.nlm.nih.gov/databases/dtd/desc.dtd">
<DescriptorRecordSet LanguageCode = "eng">
<DescriptorRecord DescriptorClass = "1">
  <DescriptorUI>D005334</DescriptorUI>
  <DescriptorName><String>Fever</String></DescriptorName>
  <SeeRelatedList><SeeRelatedDescriptor><DescriptorReferredTo>
    <DescriptorUI>D000998</DescriptorUI>
    <DescriptorName><String>Antipyretics</String></DescriptorName>
  </DescriptorReferredTo></SeeRelatedDescriptor></SeeRelatedList>
  <ConceptList>
    <Concept PreferredConceptYN="N">
      <ConceptName><String>Low Grade Fever</String></ConceptName>
      <ScopeNote>Not this one.</ScopeNote>
      <TermList><Term><String>Low Grade Fever</String></Term></TermList>
    </Concept>
    <Concept PreferredConceptYN="Y">
      <ConceptName><String>Fever</String></ConceptName>
      <ScopeNote>An abnormal elevation
      of body temperature &amp; more.
      </ScopeNote>
      <TermList>
        <Term><String>Fever</String></Term>
        <Term><String>Pyrexia</String></Term>
      </TermList>
    </Concept>
  </ConceptList>
</DescriptorRecord>
<DescriptorRecord DescriptorClass = "1">
  <DescriptorUI>D003371</DescriptorUI>
  <DescriptorName><String>Cough</String></DescriptorName>
</DescriptorRecord>
</DescriptorRecordSet>
"""

SUPP_XML = """<?xml version="1.0"?>
<SupplementalRecordSet LanguageCode = "eng">
<SupplementalRecord SCRClass = "1">
  <SupplementalRecordUI>C000002</SupplementalRecordUI>
  <SupplementalRecordName><String>bevonium</String></SupplementalRecordName>
  <Note>structure  given</Note>
  <HeadingMappedToList><HeadingMappedTo><DescriptorReferredTo>
    <DescriptorUI>*D001561</DescriptorUI>
    <DescriptorName><String>Benzilates</String></DescriptorName>
  </DescriptorReferredTo></HeadingMappedTo></HeadingMappedToList>
  <ConceptList>
    <Concept PreferredConceptYN="Y">
      <TermList><Term><String>bevonium</String></Term><Term><String>piribenzil</String></Term></TermList>
    </Concept>
  </ConceptList>
</SupplementalRecord>
</SupplementalRecordSet>
"""

DESC_BIN = """*NEWRECORD
RECTYPE = D
MH = Fever
AQ = BL CF
ENTRY = Low Grade Fever|T184|NON|NRW|UNK (19XX)|abcde
ENTRY = Pyrexias
PRINT ENTRY = Pyrexia|T184|NON|EQV|NLM (1994)|930624|abcdef
MN = C23.888.119.344
MH_TH = POPLINE (1978)
ST = T184
ST = T033
MS = An abnormal  elevation = of body temperature.
UI = D005334

*NEWRECORD
RECTYPE = Q
SH = abnormalities
UI = Q000002

*NEWRECORD
RECTYPE = D
MH = Cough
ST = T046
UI = D003371

*NEWRECORD
RECTYPE = D
MH = Female
AN =
UI = D005260

"""

SUPP_BIN = """*NEWRECORD
RECTYPE = C
NM = bevonium
SY = piribenzil|T109|T121|NON|EQV|abbcde
SY = bevonium ion
ST = T109
NO = structure given
UI = C000002
"""

FEVER = ("D005334", "Fever")
COUGH = ("D003371", "Cough", ["Cough"])
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="|\ufffe\uffff"), min_size=1
).filter(str.strip)
entities_of_mesh = st.lists(
    st.builds(
        Entity,
        st.from_regex(r"[CD]\d{6}(\d{3})?", fullmatch=True),
        texts,
        st.lists(texts),
        st.lists(st.from_regex(r"T\d{3}", fullmatch=True)),
        st.none() | texts,
    ),
    min_size=1,
    unique_by=lambda entity: entity.concept_id,
)


def raised(path, options=DEFAULTS):
    with pytest.raises(MetricELError, match=path.name) as caught:
        list(read_mesh(path, options))
    return caught.value


def make_xml(entity):
    terms = "".join(f"<Term><String>{escape(name)}</String></Term>" for name in entity.aliases)
    types = "".join(
        f"<SemanticType><SemanticTypeUI>{type_}</SemanticTypeUI></SemanticType>"
        for type_ in entity.types
    )
    return (
        f"<DescriptorRecord><DescriptorUI>{entity.concept_id}</DescriptorUI><DescriptorName>"
        f"<String>{escape(entity.canonical_name)}</String></DescriptorName><ConceptList>"
        f'<Concept PreferredConceptYN="Y"><ScopeNote>{escape(entity.definition or "")}</ScopeNote>'
        f"<SemanticTypeList>{types}</SemanticTypeList><TermList>{terms}</TermList></Concept>"
        "</ConceptList></DescriptorRecord>\n"
    )


def make_ascii(entity):
    lines = ["*NEWRECORD", "RECTYPE = D", f"MH = {entity.canonical_name}"]
    lines += [f"ENTRY = {name}|T001|abc" for name in entity.aliases]
    lines += [f"ST = {type_}" for type_ in entity.types]
    lines += [f"MS = {entity.definition or ''}", f"UI = {entity.concept_id}", "", ""]
    return "\n".join(lines)


def expect(entity):
    definition = " ".join((entity.definition or "").split()) or None
    types = entity.types or ["descriptor"]
    return clean_entity(entity._replace(types=types, definition=definition))


@pytest.mark.parametrize("name", ["desc2025.xml", "desc2025.xml.gz", "told_by_content.bin"])
def test_descriptors_in_xml(tmp_path, name):
    assert list(read_mesh(write(tmp_path / name, DESC_XML))) == [
        (
            *FEVER,
            ["Fever", "Low Grade Fever", "Pyrexia"],
            ["descriptor"],
            "An abnormal elevation of body temperature & more.",
        ),
        (*COUGH, ["descriptor"], None),
    ]


@pytest.mark.parametrize("name", ["supp2025.xml", "supp2025.gz"])
def test_supplementary_concepts_in_xml(tmp_path, name):
    assert list(read_mesh(write(tmp_path / name, SUPP_XML))) == [
        ("C000002", "bevonium", ["bevonium", "piribenzil"], ["supplementary"], "structure given")
    ]


@pytest.mark.parametrize("name", ["d2025.bin", "d2025.bin.gz", "told_by_content.xml"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_descriptors_in_ascii(tmp_path, name, end):
    assert list(read_mesh(write(tmp_path / name, DESC_BIN.replace("\n", end)))) == [
        (
            *FEVER,
            ["Fever", "Pyrexia", "Low Grade Fever", "Pyrexias"],
            ["T184", "T033"],
            "An abnormal elevation = of body temperature.",
        ),
        (*COUGH, ["T046"], None),
        ("D005260", "Female", ["Female"], ["descriptor"], None),
    ]


@pytest.mark.parametrize("name", ["c2025.bin", "c2025.bin.gz"])
def test_supplementary_concepts_in_ascii(tmp_path, name):
    assert list(read_mesh(write(tmp_path / name, SUPP_BIN))) == [
        (
            "C000002",
            "bevonium",
            ["bevonium", "piribenzil", "bevonium ion"],
            ["T109"],
            "structure given",
        )
    ]


def test_a_filter_by_semantic_types_spares_records_without_any(tmp_path):
    path = write(tmp_path / "d2025.bin", DESC_BIN)
    options = ReadOptions(semantic_types=frozenset({"T046", "T999"}))
    assert [entity.concept_id for entity in read_mesh(path, options)] == ["D003371", "D005260"]
    path = write(tmp_path / "desc2025.xml", DESC_XML)
    assert len(list(read_mesh(path, options))) == 2


def test_a_filter_that_nothing_passes_names_the_types_of_the_file(tmp_path):
    path = write(tmp_path / "c2025.bin", SUPP_BIN)
    error = raised(path, ReadOptions(semantic_types=frozenset({"T047", "T046"})))
    assert error.code == "E124"
    assert "T046, T047" in str(error)
    assert "T109" in str(error)


def test_xml_streams_up_to_the_fault(tmp_path):
    path = write(tmp_path / "desc2025.xml", DESC_XML.replace("</DescriptorRecordSet>\n", "<bad"))
    records = read_mesh(path)
    assert [next(records).concept_id, next(records).concept_id] == ["D005334", "D003371"]
    with pytest.raises(MetricELError, match="E120"):
        next(records)


def test_memory_stays_flat(tmp_path):
    start, record, end = DESC_XML.partition(DESC_XML[DESC_XML.index("<DescriptorRecord ") : -24])
    records = (record.replace("D00", f"D{number}") for number in range(1000, 4000))
    path = write(tmp_path / "desc2025.xml.gz", start + "".join(records) + end)
    tracemalloc.start()
    count = sum(1 for _ in read_mesh(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 6000
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (DESC_XML.replace("</ConceptList>", "</ConceptLists>"), 27, "mismatched tag"),
        (DESC_XML.replace("Pyrexia", "Pyrexia &unknown;"), 24, "undefined entity"),
        (DESC_XML.encode().replace(b"Pyrexia", b"\xff\xfe"), 24, "not well-formed"),
        (DESC_XML.replace("</DescriptorRecordSet>", ""), 34, "no element found"),
        ('<?xml version="1.0" encoding="klingon"?><DescriptorRecordSet/>', 1, "klingon"),
        ('<?xml version="1.0" encoding="big5"?><DescriptorRecordSet/>', 1, "multi-byte"),
        ("<!-- nothing -->", 1, "no element found"),
    ],
)
def test_xml_that_is_malformed_names_the_line(tmp_path, text, line, reason):
    error = raised(write(tmp_path / "desc2025.xml", text))
    assert error.code == "E120"
    assert f"desc2025.xml, line {line}:" in str(error)
    assert reason in str(error)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("text", [DESC_XML, SUPP_XML])
def test_xml_that_is_cut_short_is_refused(tmp_path, text, share):
    path = write(tmp_path / "cut.xml", text[: int(len(text) * share)])
    assert raised(path).code == "E120"


def test_ascii_that_is_cut_short_is_refused(tmp_path):
    for cut in range(1, len(SUPP_BIN)):
        error = raised(write(tmp_path / "cut.bin", SUPP_BIN[:cut]))
        assert error.code in ("E120", "E121", "E122")


def test_ascii_cut_within_its_last_id_is_refused(tmp_path):
    error = raised(write(tmp_path / "c2025.bin", SUPP_BIN.removesuffix("2\n")))
    assert error.code == "E120"
    assert "c2025.bin, line 8:" in str(error)


def test_entities_that_blow_up_are_refused(tmp_path):
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 20}">' for i in range(1, 9))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "{"ha" * 50}">{levels}]>'
    error = raised(write(tmp_path / "bomb.xml", f"{bomb}<DescriptorRecordSet>&e8;\n"))
    assert error.code == "E120"
    assert "amplification" in str(error)


def test_an_outside_entity_is_not_fetched(tmp_path):
    secret = write(tmp_path / "secret", "password")
    head = f'<!DOCTYPE x [<!ENTITY leak SYSTEM "{secret.as_uri()}">]>'
    text = DESC_XML.split("\n", 2)[2].replace("Pyrexia", "&leak;")
    assert raised(write(tmp_path / "leak.xml", head + text)).code == "E120"


@pytest.mark.parametrize("tag", ["DescriptorUI", "DescriptorName"])
@pytest.mark.parametrize("content", ["", "<String> </String>"])
def test_xml_without_id_or_name_names_the_record(tmp_path, tag, content):
    start, _, end = DESC_XML.rpartition(f"<{tag}>")
    text = f"{start}<{tag}>{content}{end[end.index('</' + tag) :]}"
    error = raised(write(tmp_path / "desc2025.xml", text))
    assert error.code == "E121"
    assert "desc2025.xml, record 2:" in str(error)
    assert ("no id" if tag == "DescriptorUI" else "no name") in str(error)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("UI = D003371\n", "", "no id"),
        ("MH = Cough\n", "", "no name"),
        ("MH = Cough", "MH = ", "no name"),
        ("RECTYPE = D\nMH = Cough", "MH = Cough", "RECTYPE is ''"),
        ("RECTYPE = D\nMH = Cough", "RECTYPE = X\nMH = Cough", "RECTYPE is 'X'"),
        ("UI = D003371", "UI = D003371\nUI = D003372", "2 lines of UI"),
        ("MH = Cough", "MH = Cough\nMH = Coughing", "2 lines of MH"),
        ("UI = D003371", "UI = D005334", "'D005334' is already defined"),
    ],
)
def test_ascii_without_id_or_name_names_the_line(tmp_path, old, new, reason):
    error = raised(write(tmp_path / "d2025.bin", DESC_BIN.replace(old, new)))
    assert error.code == "E121"
    assert "d2025.bin, line 20:" in str(error)
    assert reason in str(error)


def test_xml_refuses_a_concept_that_comes_twice(tmp_path):
    error = raised(write(tmp_path / "desc2025.xml", DESC_XML.replace("D003371", " D005334 ")))
    assert error.code == "E121"
    assert "record 2" in str(error)
    assert "'D005334' is already defined" in str(error)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("MH = Fever\n" + DESC_BIN, 1),
        (DESC_BIN.replace("ST = T046", "T046"), 23),
        (DESC_BIN.replace("ST = T046", "*NEW RECORD"), 23),
        ("a\tb\n", 1),
    ],
)
def test_a_line_that_is_not_of_the_ascii_form_is_named(tmp_path, text, line):
    error = raised(write(tmp_path / "d2025.bin", text))
    assert error.code == "E122"
    assert f"d2025.bin, line {line}:" in str(error)


def test_ascii_that_is_not_utf8_names_the_line(tmp_path):
    error = raised(write(tmp_path / "d2025.bin", DESC_BIN.encode().replace(b"Cough", b"\xff")))
    assert error.code == "E105"
    assert "d2025.bin, line 22:" in str(error)


@pytest.mark.parametrize("text", [DESC_XML, DESC_BIN])
def test_a_broken_archive_is_refused(tmp_path, text):
    path = tmp_path / "mesh.gz"
    path.write_bytes(gzip.compress(text.encode())[:-20])
    assert raised(path).code == "E109"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "<DescriptorRecordSet/>",
        "<QualifierRecordSet><QualifierRecord/></QualifierRecordSet>",
        "*NEWRECORD\nRECTYPE = Q\nSH = abnormalities\nUI = Q000002\n",
    ],
)
def test_a_file_without_concepts_is_refused(tmp_path, text):
    assert raised(write(tmp_path / "mesh.bin", text)).code == "E111"


def test_a_missing_file_is_refused(tmp_path):
    assert raised(tmp_path / "none.xml").code == "E103"


@given(entities_of_mesh)
def test_xml_round_trip(tmp_path_factory, entities):
    text = f"<DescriptorRecordSet>{''.join(map(make_xml, entities))}</DescriptorRecordSet>"
    path = write(tmp_path_factory.mktemp("any") / "desc.xml", text)
    assert list(read_mesh(path)) == [expect(entity) for entity in entities]


@given(entities_of_mesh)
def test_ascii_round_trip(tmp_path_factory, entities):
    path = write(tmp_path_factory.mktemp("any") / "d.bin", "".join(map(make_ascii, entities)))
    assert list(read_mesh(path)) == [expect(entity) for entity in entities]


pieces = st.sampled_from([*DESC_XML.splitlines(), *DESC_BIN.splitlines(), "<", "&e;", "UI =", "\0"])


def read_or_code(path):
    try:
        return list(read_mesh(path)), ""
    except MetricELError as error:
        return [], error.code


@given(st.binary() | st.lists(pieces, max_size=12).map("\n".join).map(str.encode))
def test_any_bytes_parse_or_raise_a_coded_error(tmp_path_factory, data):
    entities, code = read_or_code(write(tmp_path_factory.mktemp("any") / "mesh", data))
    assert entities or code
    assert [clean_entity(entity) for entity in entities] == entities
