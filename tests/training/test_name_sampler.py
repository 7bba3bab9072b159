import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.training.name_sampler import (
    entities_sharing_names,
    leave_own_name_out,
    make_pool,
    sample_names,
)

from ..util import make_records

concept_ids = st.sampled_from([f"C{i}" for i in range(7)])
some_names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4)


@st.composite
def vocabularies(draw):
    """Records, with the names of each entity and the entities of each name as sets."""
    vocabulary = draw(st.dictionaries(concept_ids, some_names, min_size=1))
    records = make_records(Entity(cid, names[0], names) for cid, names in vocabulary.items())
    names_of = [
        {records.name_index(name) for name in vocabulary[cid]} for cid in sorted(vocabulary)
    ]
    bearers = [
        {entity for entity, names in enumerate(names_of) if name in names}
        for name in range(records.n_names)
    ]
    return records, names_of, bearers


def subset(draw, n):
    chosen = draw(st.sets(st.integers(0, n - 1)))
    return np.asarray(sorted(chosen), dtype=np.int64)


def naive_sharing(entity, names_of, bearers):
    return {other for name in names_of[entity] for other in bearers[name]} | {entity}


@given(vocabularies(), st.integers(0, 5), st.integers(0, 3), st.data())
def test_sampled_names_are_distinct_names_of_the_entities(vocabulary, per_entity, seed, data):
    records, names_of, _ = vocabulary
    entities = subset(data.draw, records.n_entities)
    found = sample_names(records, entities, per_entity, np.random.default_rng(seed))
    assert found.dtype == np.int64
    assert found.tolist() == sorted(set(found.tolist()))
    allowed = set().union(*(names_of[entity] for entity in entities))
    assert set(found.tolist()) <= allowed
    sizes = [min(per_entity, len(names_of[entity])) for entity in entities]
    for entity, size in zip(entities, sizes, strict=True):
        assert len(names_of[entity] & set(found.tolist())) >= size
    assert len(found) <= sum(sizes)
    if per_entity >= 4:
        assert set(found.tolist()) == allowed


def test_every_name_is_sampled_at_some_time():
    records = make_records([Entity("C1", "a", list("abcde")), Entity("C2", "f", ["f"])])
    rng = np.random.default_rng(0)
    first = np.zeros(1, dtype=np.int64)
    draws = [sample_names(records, first, 2, rng).tolist() for _ in range(60)]
    assert {len(draw) for draw in draws} == {2}
    assert {name for draw in draws for name in draw} == {records.name_index(n) for n in "abcde"}


@given(vocabularies())
def test_entities_sharing_names_equals_a_loop(vocabulary):
    records, names_of, bearers = vocabulary
    for entity in range(records.n_entities):
        expected = sorted(naive_sharing(entity, names_of, bearers))
        assert entities_sharing_names(records, entity).tolist() == expected


@given(vocabularies(), st.data())
def test_make_pool_equals_a_loop(vocabulary, data):
    records, names_of, bearers = vocabulary
    entities, names = (subset(data.draw, n) for n in (records.n_entities, records.n_names))
    pool = make_pool(records, entities, names)
    assert pool.names.tolist() == names.tolist()
    assert pool.bears.shape == pool.is_safe.shape == (len(entities), len(names))
    for row, entity in enumerate(entities):
        sharing = naive_sharing(entity, names_of, bearers)
        for column, name in enumerate(names):
            assert pool.bears[row, column] == (entity in bearers[name])
            assert pool.is_safe[row, column] == (not bearers[name] & sharing)


def test_a_name_of_a_concept_with_a_shared_name_is_not_safe():
    # C1 and C2 share "b"; C2 and C3 share "c"; C4 stands apart.
    vocabulary = {"C1": "ab", "C2": "bc", "C3": "cd", "C4": "e"}
    records = make_records(Entity(cid, names[0], list(names)) for cid, names in vocabulary.items())
    names = np.asarray([records.name_index(name) for name in "abcde"])
    pool = make_pool(records, np.asarray([0, 3]), names)
    assert pool.bears[0].tolist() == [True, True, False, False, False]
    # "c" is also a name of C2, which shares "b" with C1; "d" is C3's alone.
    assert pool.is_safe[0].tolist() == [False, False, False, True, True]
    assert pool.is_safe[1].tolist() == [True, True, True, True, False]


@given(st.integers(0, 4), st.integers(0, 5), st.data())
def test_leave_own_name_out_equals_a_loop(n, m, data):
    flags = data.draw(st.lists(st.booleans(), min_size=n * m, max_size=n * m))
    is_positive = np.asarray(flags, dtype=bool).reshape(n, m)
    names = np.arange(10, 10 + m)
    own = np.asarray(data.draw(st.lists(st.sampled_from([-1, 10, 11, 12]), min_size=n, max_size=n)))
    found = leave_own_name_out(is_positive, own.astype(np.int64), names)
    for i in range(n):
        positives = {int(name) for name, flag in zip(names, is_positive[i], strict=True) if flag}
        expected = positives - {int(own[i])} or positives
        assert {int(name) for name, flag in zip(names, found[i], strict=True) if flag} == expected
