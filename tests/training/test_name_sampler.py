import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.kb.index.row_vectors import RowVectors
from spacy_metric_el.text import normalise_name
from spacy_metric_el.training import name_sampler as name_sampler_module
from spacy_metric_el.training.name_sampler import (
    NameSampler,
    entities_sharing_names,
    leave_own_name_out,
    make_pool,
    sample_names,
)

from ..util import LINKER, VOCABULARY, make_example, make_kb, make_nlp, make_records, train

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


# --- mining ---

TEXTS = ["Headache", "head pains", "MI", "cold", "no such name at all"]


@pytest.fixture(params=[True, False], ids=["name_context", "surface"])
def linker(request):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(model={"name_context": request.param})
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    linker.refresh_vectors()
    linker.nlp = nlp
    return linker


def naive_nearest(linker, text, n):
    """RETURNS (list[int]): The names whose rows are nearest to the surface of a text."""
    rows = linker.vectors.decode(np.arange(linker.vectors.n_rows))
    (query,) = linker.encoder.names.encode_surfaces([normalise_name(text)])
    return np.argsort(-(rows @ query), kind="stable")[:n].tolist()


@pytest.mark.parametrize("n_rows", [1, 5, 1000])
def test_mined_names_equal_a_loop(linker, monkeypatch, n_rows):
    monkeypatch.setattr(name_sampler_module, "MINED_ROWS", n_rows)
    sampler = NameSampler(linker.encoder, linker.kb, seed=0)
    for text, found in zip(TEXTS, sampler.mine(TEXTS), strict=True):
        assert found.tolist() == naive_nearest(linker, text, n_rows)
    names = linker.kb.records.name_texts()
    assert [names[found[0]] for found in sampler.mine(["Headache", "FEVER"])] == [
        "headache",
        "fever",
    ]


def test_names_are_mined_in_the_rows_of_the_start(linker):
    """No other index is made, and what is mined does not depend on evaluations in between."""
    sampler = NameSampler(linker.encoder, linker.kb, seed=0)
    held = linker.vectors
    before = sampler.mine(TEXTS)
    examples = [make_example(linker.nlp, "a fever", ("fever", "C08"))]
    train(linker.nlp, examples, 3, learn_rate=0.1)
    assert linker.encoder.held_vectors(linker.kb) is held
    again = sampler.mine(TEXTS)
    assert all(a is b for a, b in zip(again, before, strict=True))
    linker.refresh_vectors()
    assert linker.vectors is not held
    assert all(a is b for a, b in zip(sampler.mine(TEXTS), before, strict=True))


@pytest.mark.parametrize("limit", [0, 2, 16])
def test_confusable_entities_equal_a_loop(linker, limit):
    sampler, records = NameSampler(linker.encoder, linker.kb, seed=0), linker.kb.records
    for gold in ([0], [2, 3]):
        confusable = sampler.confusable(TEXTS, [gold] * len(TEXTS), limit)
        for text, found in zip(TEXTS, confusable, strict=True):
            others = []
            for name in naive_nearest(linker, text, linker.vectors.n_rows):
                for entity in records.name_entities[records.links_of(name)]:
                    if entity not in [*gold, *others]:
                        others.append(entity)
            assert found.tolist() == [*gold, *others[:limit]]


def test_a_step_searches_no_text_by_itself(linker, monkeypatch):
    sampler = NameSampler(linker.encoder, linker.kb, seed=0)
    searched = []
    search = RowVectors.search

    def count(self, queries, *args, **kwargs):
        searched.append(len(queries))
        return search(self, queries, *args, **kwargs)

    monkeypatch.setattr(RowVectors, "search", count)
    sampler.confusable([*TEXTS, *TEXTS], [[0]] * (2 * len(TEXTS)), 4)
    sampler.confusable(TEXTS, [[1]] * len(TEXTS), 4)
    assert searched == [len({normalise_name(text) for text in TEXTS})]


@pytest.mark.parametrize("negatives", [0, 1, 3])
def test_drawn_names_are_of_the_entities_or_among_the_nearest_of_others(linker, negatives):
    records = linker.kb.records
    for seed in range(5):
        sampler = NameSampler(linker.encoder, linker.kb, seed=seed)
        drawn = sampler.draw(["MI", "cold"], np.asarray([0, 2]), positives=9, negatives=negatives)
        allowed = set()
        for entity, text in ((0, "MI"), (2, "cold")):
            names = {records.name_index(VOCABULARY[entity].canonical_name)}
            names |= {records.name_index(alias) for alias in VOCABULARY[entity].aliases}
            assert names <= set(drawn.tolist())
            nearest = naive_nearest(linker, text, linker.vectors.n_rows)
            foreign = [name for name in nearest if name not in names]
            allowed |= names | set(foreign[: 2 * negatives])
        assert set(drawn.tolist()) <= allowed
