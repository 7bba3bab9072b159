import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers.obo import read_obo
from spacy_metric_el.kb.importers.obo_json import read_obo_json
from spacy_metric_el.kb.importers.options import DEFAULTS, ReadOptions

from ...util import write_file
from .sources import OBO

PURL = "http://purl.obolibrary.org/obo/"
OBO_IN_OWL = "http://www.geneontology.org/formats/oboInOwl#"
OWN_IDS = ReadOptions(id_prefix="")
NAMELESS = "\n[Term]\nid: HP:0000009\nxref: UMLS:C0000002\n"
"""A term that is passed over."""


def prop(name, val):
    return {"pred": OBO_IN_OWL + name, "val": val}


def synonym(scope, val):
    return {"pred": f"has{scope}Synonym", "val": val, "xrefs": []}


def make_node(id_, lbl=None, type_="CLASS", **meta):
    return {"id": id_, "lbl": lbl, "type": type_, "meta": meta}


def make_graph(*nodes, **meta):
    return {"graphs": [{"id": PURL + "hp.json", "meta": meta, "nodes": nodes, "edges": []}]}


NODES = [
    make_node(
        PURL + "HP_0000006",
        "Autosomal dominant inheritance",
        definition={"val": "A mode of inheritance.", "xrefs": ["HPO:curators"]},
        synonyms=[
            synonym("Exact", "Autosomal dominant"),
            synonym("Related", "Dominant form"),
            synonym("Narrow", "Dominant with a twist"),
            synonym("Broad", "Inheritance"),
        ],
        xrefs=[
            {"val": "SNOMEDCT_US:263681008"},
            {"val": "UMLS:C0443147"},
            {"val": "UMLS:C1867440"},
            {"val": "https://example.org/1"},
            {"val": "UMLS:"},
            {"val": "UMLS"},
        ],
        basicPropertyValues=[prop("hasOBONamespace", "human_phenotype"), prop("created_by", "me")],
    ),
    make_node(
        PURL + "HP_0000007",
        "Dominant trait",
        definition={"val": "Another definition."},
        xrefs=[{"val": "UMLS:C0443147"}],
        basicPropertyValues=[prop("hasOBONamespace", "inheritance")],
    ),
    make_node(PURL + "HP_0000008", "Gone", xrefs=[{"val": "UMLS:C0000001"}], deprecated=True),
    make_node(PURL + "HP_0000009", xrefs=[{"val": "UMLS:C0000002"}]),
    make_node(PURL + "BFO_0000050", "part of", "PROPERTY", xrefs=[{"val": "UMLS:C0000003"}]),
    {"id": PURL + "HP_0000010"},
]
GRAPH = make_graph(*NODES, basicPropertyValues=[prop("default-namespace", "human_phenotype")])

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def write(path, content):
    is_text = isinstance(content, str | bytes)
    return write_file(path, content if is_text else json.dumps(content, indent=1))


def raised(path, options=DEFAULTS):
    with pytest.raises(MetricELError, match=path.name) as caught:
        list(read_obo_json(path, options))
    return caught.value


@pytest.mark.parametrize("name", ["hp.json", "hp.json.gz"])
def test_a_term_gives_a_concept_per_cross_reference(tmp_path, name):
    exact = ["Autosomal dominant inheritance", "Autosomal dominant", "Dominant form"]
    text = "A mode of inheritance."
    assert list(read_obo_json(write(tmp_path / name, GRAPH))) == [
        ("C0443147", exact[0], [*exact, "Dominant trait"], ["inheritance"], text),
        ("C1867440", exact[0], exact, [], text),
    ]


@pytest.mark.parametrize("prefix", ["UMLS", "UMLS:", "SNOMEDCT_US", ""])
def test_obo_and_its_json_give_the_same_entities(tmp_path, prefix):
    obo = write(tmp_path / "hp.obo", OBO + NAMELESS)
    path = write(tmp_path / "hp.json", GRAPH)
    entities = list(read_obo_json(path, ReadOptions(id_prefix=prefix)))
    assert entities == list(read_obo(obo, id_prefix=prefix)) != []


@pytest.mark.parametrize(
    ("iri", "own_id"),
    [
        (PURL + "HP_0000006", "HP:0000006"),
        (PURL.replace("http:", "https:") + "HP_0000006", "HP:0000006"),
        (PURL + "NCBITaxon_Union_0000030", "NCBITaxon_Union:0000030"),
        ("HP:0000006", "HP:0000006"),
        (PURL + "hp#part_of", PURL + "hp#part_of"),
        ("http://www.orpha.net/ORDO/Orphanet_558", "http://www.orpha.net/ORDO/Orphanet_558"),
    ],
)
def test_own_ids_are_short_where_obo_says_how(tmp_path, iri, own_id):
    path = write(tmp_path / "hp.json", make_graph(make_node(iri, "Fever")))
    assert [entity.concept_id for entity in read_obo_json(path, OWN_IDS)] == [own_id]


def test_terms_of_several_graphs_are_merged(tmp_path):
    first = make_node("HP:1", "Fever", synonyms=[synonym("Exact", "Pyrexia")])
    second = make_node("HP:1", "Febrile", definition={"val": "Hot."})
    graphs = {"graphs": make_graph(first)["graphs"] + make_graph(second)["graphs"]}
    path = write(tmp_path / "hp.json", graphs)
    assert list(read_obo_json(path, OWN_IDS)) == [
        ("HP:1", "Fever", ["Fever", "Pyrexia", "Febrile"], [], "Hot.")
    ]


def test_a_term_without_type_or_label_is_one_if_it_has_a_name(tmp_path):
    node = {"id": "HP:1", "meta": {"synonyms": [synonym("Exact", "Fever")]}}
    path = write(tmp_path / "hp.json", make_graph(node))
    assert list(read_obo_json(path, OWN_IDS)) == [("HP:1", "Fever", ["Fever"], [], None)]


def test_a_prefix_that_no_term_has_names_those_that_occur(tmp_path):
    error = raised(write(tmp_path / "hp.json", GRAPH), ReadOptions(id_prefix="MESH"))
    assert error.code == "E108"
    assert "'MESH'" in str(error)
    assert "UMLS, SNOMEDCT_US" in str(error)


@pytest.mark.parametrize("graph", [{"graphs": []}, make_graph(), make_graph(NODES[2], NODES[4])])
def test_a_file_without_terms_is_refused(tmp_path, graph):
    assert raised(write(tmp_path / "hp.json", graph), OWN_IDS).code == "E111"
    assert raised(write(tmp_path / "hp.json", graph)).code == "E108"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "line 1: Expecting value"),
        ('{"graphs":\n[\n{]}', "line 3: "),
        (json.dumps(GRAPH, indent=1)[:-9], "line "),
        ("[" * 100_000, "recursion"),
        ([], "no 'graphs'"),
        ({"concept_id": "C1", "canonical_name": "Fever"}, "no 'graphs'"),
        ({"graphs": 1}, "'graphs' is not a list"),
        ({"graphs": [1]}, "what should have 'nodes' is not an object"),
        ({"graphs": [{"nodes": {}}]}, "'nodes' is not a list"),
        ({"graphs": [{"meta": []}]}, "'meta' is not an object"),
        (make_graph(NODES[0], 1), "node 2: what should have 'id'"),
        (make_graph(NODES[0], {"lbl": "Fever"}), "node 2: 'id' is missing"),
        (make_graph(make_node(1, "Fever")), "node 1: 'id' is not a string"),
        (make_graph(make_node("HP:1", ["Fever"])), "'lbl' is not a string"),
        (make_graph(make_node("HP:1", "Fever", deprecated="yes")), "'deprecated' is not true"),
        (make_graph(make_node("HP:1", "Fever", definition="Hot.")), "'definition' is not an"),
        (make_graph(make_node("HP:1", "Fever", synonyms=["a"])), "what should have 'pred'"),
        (make_graph(make_node("HP:1", "Fever", xrefs=["UMLS:C1"])), "what should have 'val'"),
        (make_graph(make_node("HP:1", "\ud800")), "surrogates"),
    ],
)
def test_what_is_no_obo_graph_is_refused(tmp_path, content, reason):
    error = raised(write(tmp_path / "hp.json", content))
    assert error.code == "E123"
    assert reason in str(error)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert raised(tmp_path / "none.json").code == "E103"
    error = raised(write(tmp_path / "hp.json", b'{"graphs":\n"\xff"}'))
    assert error.code == "E105"
    assert "line 2" in str(error)
    (tmp_path / "hp.json.gz").write_bytes(gzip.compress(json.dumps(GRAPH).encode())[:-20])
    assert raised(tmp_path / "hp.json.gz").code == "E109"


@given(
    st.lists(
        st.builds(Entity, names, names, st.lists(names), st.lists(names), st.none() | names),
        min_size=1,
        unique_by=lambda entity: entity.concept_id.strip(),
    )
)
def test_round_trip(tmp_path_factory, entities):
    nodes = [
        make_node(
            f"HP:{number}",
            entity.canonical_name,
            definition={"val": entity.definition},
            synonyms=[synonym("Exact", name) for name in entity.aliases],
            xrefs=[{"val": f"MY:{entity.concept_id}"}],
            basicPropertyValues=[prop("hasOBONamespace", name) for name in entity.types],
        )
        for number, entity in enumerate(entities)
        if not entity.concept_id.strip().startswith("//")
    ]
    path = write(tmp_path_factory.mktemp("any") / "hp.json", make_graph(*nodes, NODES[0]))
    expected = [clean_entity(e) for e in entities if not e.concept_id.strip().startswith("//")]
    if expected:
        assert list(read_obo_json(path, ReadOptions(id_prefix="MY"))) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "lbl", "type", "meta", "synonyms", "xrefs", "val", "pred"]),
            inner,
        )
    ),
)


def read_or_code(path, options):
    try:
        return list(read_obo_json(path, options)), ""
    except MetricELError as error:
        return [], error.code


@given(
    st.binary()
    | json_values.map(json.dumps)
    | st.lists(json_values).map(lambda nodes: json.dumps(make_graph(*nodes)))
)
def test_anything_parses_or_raises_a_coded_error(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("any") / "hp.json", content)
    for options in (DEFAULTS, OWN_IDS):
        entities, code = read_or_code(path, options)
        assert entities or code
        assert [clean_entity(entity) for entity in entities] == entities
