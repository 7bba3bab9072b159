"""Knowledge bases made of others equal those that are built of everything at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.changes import carry_vectors, combine
from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.kb.index.row_vectors import make_row_vectors
from spacy_metric_el.kb.knowledge_base import FaissKnowledgeBase

from .vocabulary import (
    COUNTS,
    ENTITIES,
    WIDTH,
    entities_of,
    make_kb,
    mention_counts,
    some_vectors,
    vocabularies,
)


def build(*sources, counts=None):
    return FaissKnowledgeBase.from_sources(sources, counts)


def assert_equal(found, expected):
    assert found.records.entities.equals(expected.records.entities)
    assert found.records.names.equals(expected.records.names)


def names_of(kb):
    """What the table of names says, but for how a name is written."""
    return kb.records.names.drop_columns(["name"])


def own_entities(kb):
    is_own = kb.records.entity_in_vocabulary.tolist()
    return [entity for entity, own in zip(kb.entities(), is_own, strict=True) if own]


def add_counts(first, second):
    return {pair: first.get(pair, 0) + second.get(pair, 0) for pair in {**first, **second}}


@given(vocabularies, mention_counts, vocabularies, mention_counts)
def test_adding_equals_building_of_everything(first, counts, second, more):
    kb = build(entities_of(first), counts=counts)
    found = combine([kb], [entities_of(second)], more)
    both = build(entities_of(first), entities_of(second), counts=add_counts(counts, more))
    assert own_entities(found) == own_entities(both)
    assert list(found) == list(both)
    # How a name is written may depend on who says it first.
    assert names_of(found).equals(names_of(both))


@given(vocabularies, mention_counts, st.sets(st.sampled_from([f"C{i}" for i in range(6)])))
def test_removing_equals_building_of_the_rest(vocabulary, counts, removed):
    kb = build(entities_of(vocabulary), counts=counts)
    rest = [entity for entity in entities_of(vocabulary) if entity.concept_id not in removed]
    uses = {pair: count for pair, count in counts.items() if pair[1] not in removed}
    if rest or uses:
        found, expected = combine([kb], without=removed), build(rest, counts=uses)
        assert found.records.entities.equals(expected.records.entities)
        assert names_of(found).equals(names_of(expected))
    else:
        with pytest.raises(MetricELError, match="E131"):
            combine([kb], without=removed)


@given(vocabularies, mention_counts)
def test_a_copy_is_the_same(vocabulary, counts):
    kb = build(entities_of(vocabulary), counts=counts)
    copy = combine([kb])
    assert copy.records.entities.equals(kb.records.entities)
    assert names_of(copy).equals(names_of(kb))


def test_nothing_is_lost_or_gained_by_a_copy():
    kb = make_kb()
    copy = combine([kb], meta={"source": "a copy"})
    assert_equal(copy, kb)
    assert copy.meta == {"source": "a copy"}
    np.testing.assert_array_equal(copy.vectors.names, kb.vectors.names)
    everything = np.arange(kb.vectors.n_rows)
    np.testing.assert_array_equal(copy.vectors.decode(everything), kb.vectors.decode(everything))


def test_concepts_of_a_corpus_stay_what_they_are():
    kb = combine([make_kb()], [[Entity("C9", "Zeal", [])]])
    flu = kb.records.entity_index("C5")
    assert not kb.records.entity_in_vocabulary[flu]
    assert kb.records.entity_counts[flu] == COUNTS["Flu", "C5"]


def rows_by_text(kb):
    """{name: vector}"""
    texts = kb.records.name_texts()
    found = kb.vectors.decode(np.arange(kb.vectors.n_rows)).tolist()
    return {texts[name]: vector for name, vector in zip(kb.vectors.names, found, strict=True)}


def test_vectors_go_along_with_what_is_written_as_before():
    kb = make_kb()
    before = rows_by_text(kb)
    # C5 gets another name, and a name of C1 is written otherwise; one of C4 is gone.
    changed = [Entity("C0", "grippe", ["Flu", "COLD"]), Entity("C5", "Flu", ["influenza"])]
    made = combine([kb], [changed], without=["C4"])
    after = rows_by_text(made)
    assert after == {key: before[key] for key in after}
    assert set(before) - set(after) == {"Mitral insufficiency", "Cold"}
    assert set(made.records.name_texts()) - set(after) == {"grippe", "influenza", "COLD"}


def test_vectors_of_another_encoder_stay_behind():
    first, second = make_kb(vectors=False), build([Entity("C9", "Zeal", ["ardour"])])
    first.vectors = some_vectors(first.records, fingerprint="one")
    second.vectors = some_vectors(second.records, fingerprint="two")
    made = combine([first, second])
    assert made.vectors.fingerprint == "one"
    assert made.vectors.n_rows == first.vectors.n_rows
    second.vectors = some_vectors(second.records, fingerprint="one")
    merged = rows_by_text(combine([first, second]))
    assert merged == {**rows_by_text(second), **rows_by_text(first)}
    assert (np.diff(combine([first, second]).vectors.names) > 0).all()


def test_of_two_vectors_of_a_name_the_first_one_is_kept():
    first, second = make_kb(vectors=False), build([Entity("C9", "Flu", ["ardour"])])
    first.vectors = some_vectors(first.records, fingerprint="one")
    second.vectors = some_vectors(second.records, fingerprint="one", seed=1)
    ours, theirs = rows_by_text(first), rows_by_text(second)
    assert ours["Flu"] != theirs["Flu"]
    assert rows_by_text(combine([first, second])) == {**theirs, **ours}
    assert rows_by_text(combine([second, first])) == {**ours, **theirs}


def test_without_vectors_there_are_none():
    assert combine([make_kb(vectors=False)]).vectors is None
    kb = build([Entity("C9", "Zeal", [])])
    assert carry_vectors([make_kb()], kb.records) is None


def test_rows_that_are_missing_stay_missing():
    kb = make_kb(vectors=False)
    kb.vectors = make_row_vectors(np.eye(2, WIDTH, dtype=np.float32), np.asarray([1, 3]), "one")
    assert rows_by_text(combine([kb])) == rows_by_text(kb)
    assert len(ENTITIES) + 1 == len(kb)


@given(vocabularies, vocabularies, vocabularies)
def test_who_gave_a_name_is_told_as_if_all_were_built_at_once(first, second, third):
    streams = [entities_of(vocabulary) for vocabulary in (first, second, third)]
    expected = build(*streams)
    # One that was built of fewer sources than its manifest says keeps their numbers.
    merged = combine([build(*streams[:1]), build(streams[1])], streams[2:])
    assert names_of(merged).equals(names_of(expected))
    kept = build(streams[0], [])
    kept.meta["sources"] = [{"name": "a"}, {"name": "b"}]
    bits = set(combine([kept], streams[1:2]).records.name_sources.tolist())
    assert bits <= {1, 4, 5}


def test_who_gave_the_names_of_a_concept():
    kb = build(ENTITIES[:2], [Entity("C1", "Cold", ["coryza"])], counts={("a cold", "C1"): 2})
    assert kb.name_sources("C1") == {
        "Cold": [0, 1],
        "Common cold": [0],
        "acute rhinitis": [0],
        "coryza": [1],
        "a cold": [],
    }
    with pytest.raises(KeyError):
        kb.name_sources("C9")
