"""An entity is tidied before anything is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity, clean_entity

from .importers.sources import names


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
