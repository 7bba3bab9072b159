import random
from collections import Counter
from itertools import combinations, pairwise

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy import registry
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.training.batcher import ClusterBatcher, group_documents

VOCAB = spacy.blank("en").vocab

corpora = st.lists(
    st.dictionaries(st.sampled_from(["", "A", "B", "C", "D"]), st.integers(1, 5)).map(Counter),
    max_size=20,
)


def make_example(concept_ids):
    """A document of one token a mention."""
    words = [f"w{i}" for i in range(len(concept_ids))] or ["nothing"]
    reference = Doc(VOCAB, words=words)
    reference.ents = [
        Span(reference, i, i + 1, label="X", kb_id=cid) for i, cid in enumerate(concept_ids)
    ]
    return Example(Doc(VOCAB, words=words), reference)


def make_corpus(n, seed=0):
    """Documents of four mentions; each concept comes in about four documents."""
    rng = random.Random(seed)
    return [make_example([f"C{rng.randrange(n)}" for _ in range(4)]) for _ in range(n)]


def ids_of(examples):
    return [id(example) for example in examples]


def shared_pairs(batches):
    """Pairs of documents of one batch that share a concept."""
    concepts = [[{ent.kb_id_ for ent in eg.reference.ents} for eg in batch] for batch in batches]
    return sum(bool(a & b) for batch in concepts for a, b in combinations(batch, 2))


@given(corpora, st.integers(1, 12), st.integers(0, 3), st.integers(0, 5))
def test_every_document_comes_once_and_batches_keep_their_size(mentions, size, partners, seed):
    batches = list(group_documents(mentions, size, partners, random.Random(seed)))
    assert sorted(i for batch in batches for i in batch) == list(range(len(mentions)))
    for batch in batches:
        assert batch
        n_mentions = sum(max(mentions[i].total(), 1) for i in batch)
        assert n_mentions <= size or len(batch) == 1
    # No batch is cut before it is full.
    for batch, following in pairwise(batches):
        n_mentions = sum(max(mentions[i].total(), 1) for i in (*batch, following[0]))
        assert n_mentions > size


@pytest.mark.parametrize("buffer", [1, 7, 100_000])
def test_every_example_comes_once_in_every_epoch(buffer):
    examples = make_corpus(40)
    batcher = ClusterBatcher(size=20, buffer=buffer, seed=0)
    for _ in range(2):
        batches = list(batcher(iter(examples)))
        assert sorted(ids_of(eg for batch in batches for eg in batch)) == sorted(ids_of(examples))
        assert all(len(batch) <= 5 for batch in batches)


def test_the_seed_decides_the_order():
    examples = make_corpus(40)
    orders = [
        [ids_of(batch) for batch in ClusterBatcher(size=20, seed=seed)(examples)]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_another_epoch_has_another_order():
    examples = make_corpus(40)
    batcher = ClusterBatcher(size=20)
    first, second = ([ids_of(batch) for batch in batcher(examples)] for _ in range(2))
    assert first != second


def test_global_random_numbers_are_left_alone():
    random.seed(3)
    state = random.getstate()
    list(ClusterBatcher(size=20)(make_corpus(10)))
    assert random.getstate() == state


def test_batches_share_far_more_entities_than_those_of_a_random_order():
    examples = make_corpus(200)
    together = shared_pairs(ClusterBatcher(size=40, seed=0)(examples))
    shuffled = random.Random(0).sample(examples, len(examples))
    by_chance = shared_pairs([shuffled[i : i + 10] for i in range(0, 200, 10)])
    alone = shared_pairs(ClusterBatcher(size=40, partners=0, seed=0)(examples))
    assert together > 2 * max(by_chance, alone)


def test_a_large_document_is_a_batch_of_its_own():
    examples = [make_example(["C1"] * n) for n in (2, 30, 1, 2)]
    for seed in range(5):
        batches = list(ClusterBatcher(size=10, seed=seed)(examples))
        assert [examples[1]] in batches


def first_two(mentions, seeds=60):
    """The partners that the first document brings along, over seeds that put it first."""
    orders = [
        next(group_documents(mentions, 1000, 1, random.Random(seed))) for seed in range(seeds)
    ]
    return {order[1] for order in orders if order[0] == 0}


def test_the_rarest_shared_entity_goes_first():
    mentions = [Counter(rare=1, common=5), Counter(rare=1)] + [Counter(common=2)] * 6
    assert first_two(mentions) == {1}


def test_mentions_that_are_not_linked_make_no_partners():
    # The first document shares C1 with the second, and with the third only NIL.
    assert first_two([Counter({"": 1, "C1": 1}), Counter({"C1": 1}), Counter({"": 1})]) == {1}
    order = next(group_documents([Counter({"": 1})] * 10, 100, 3, random.Random(0)))
    shuffled = list(range(10))
    random.Random(0).shuffle(shuffled)
    assert order == shuffled


@pytest.mark.parametrize("examples", [[], iter(())])
def test_no_examples_no_batches(examples):
    assert list(ClusterBatcher()(examples)) == []


def test_documents_without_mentions_are_batched_too():
    examples = [make_example([]) for _ in range(5)]
    assert [len(batch) for batch in ClusterBatcher(size=2)(examples)] == [2, 2, 1]


@pytest.mark.parametrize("config", [{"size": 0}, {"buffer": 0}, {"partners": -1}])
def test_bad_settings(config):
    with pytest.raises(MetricELError) as error:
        ClusterBatcher(**config)
    assert error.value.code == "E231"


def test_the_registry_has_the_batcher():
    block = {"@batchers": "spacy_metric_el.ClusterBatcher.v1", "size": 3, "seed": 5}
    batcher = registry.resolve({"batcher": block})["batcher"]
    assert isinstance(batcher, ClusterBatcher)
    assert (batcher.size, batcher.partners, batcher.buffer) == (3, 3, 100_000)
    assert batcher.rng.random() == random.Random(5).random()
