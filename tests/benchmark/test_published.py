import random

import pytest
import torch

from benchmark.mentions import Corpus, Mention
from benchmark.rows.published import PublishedRow
from benchmark.rows.published.candidates import CandidateIndex
from benchmark.rows.published.clusters import (
    LearnedRadius,
    form_cluster,
    gold_mask,
    hardest_negatives,
    triplet_loss,
)
from benchmark.rows.published.cnn import CnnEncoders
from benchmark.rows.published.encoders import WordpieceEncoders, mark
from benchmark.rows.published.row import describe_entities
from benchmark.rows.published.train import train_step
from benchmark.rows.published.units import Context, form_units, make_context
from spacy_metric_el.errors import MetricELError


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def distance(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


def test_units(task):
    corpus = task.train_corpus()
    places = {concept_id: i for i, concept_id in enumerate(task.names.concepts)}
    units = form_units(corpus, places)
    found = {
        (corpus.mentions[unit.mentions[0]].doc, task.names.concepts[unit.entity]): [
            corpus.mentions[i].text for i in unit.mentions
        ]
        for unit in units
    }
    assert found == {
        (0, "C03"): ["cold", "cold"],
        (0, "C01"): ["heart attack"],
        (0, "C77"): ["zorblax"],
        (0, "C05"): ["aspirin"],
        (0, "C04"): ["Cold"],
        (1, "C03"): ["Cold"],
        (1, "C08"): ["fever and headache"],
    }


def test_units_have_a_limit_and_leave_out_nil():
    mentions = [Mention(0, "d", i, i + 1, "x", ("C1",)) for i in range(30)]
    mentions += [Mention(0, "d", 0, 1, "x", ()), Mention(0, "d", 0, 1, "x", ("C2",))]
    (unit,) = form_units(Corpus([], mentions), {"C1": 7}, max_mentions=20)
    assert unit.entity == 7
    assert len(set(unit.mentions)) == 20


def test_context_is_the_sentence(dev):
    mention = dev.mentions[4]
    assert make_context(dev.docs[0], mention) == Context("", "MI", "was ruled out.")
    mention = dev.mentions[3]
    found = make_context(dev.docs[0], mention)
    assert found == Context("Cold, fever and no myocardial infarction (", "MI", ").")


@pytest.mark.parametrize(
    ("left", "right", "room", "expected", "span"),
    [
        (2, 2, 20, [10, 11, 1, 5, 6, 7, 2, 20, 21], (3, 5)),
        (9, 9, 9, [17, 18, 1, 5, 6, 7, 2, 20, 21], (3, 5)),
        (9, 1, 9, [16, 17, 18, 1, 5, 6, 7, 2, 20], (4, 6)),
        (1, 9, 9, [10, 1, 5, 6, 7, 2, 20, 21, 22], (2, 4)),
        (9, 9, 4, [1, 5, 6, 2], (1, 2)),
    ],
)
def test_long_sentences_are_cut_around_the_mention(left, right, room, expected, span):
    ids, found = mark(
        range(10, 10 + left), [5, 6, 7], range(20, 20 + right), markers=(1, 2), room=room
    )
    assert ids == expected
    assert found == span


def test_mention_without_ids_has_its_markers():
    assert mark([8], [], [9], markers=(1, 2), room=9) == ([8, 1, 2, 9], (1, 2))


def test_cluster_is_that_of_a_loop(generator):
    mentions = torch.randn(12, 4, generator=generator)
    for anchor in range(12):
        kept, largest = form_cluster(mentions, anchor, 2.0)
        gaps = [distance(mentions[anchor], mention) for mention in mentions]
        assert kept.tolist() == [gap < 2.0 for gap in gaps]
        assert largest == pytest.approx(max(gap for gap in gaps if gap < 2.0), abs=1e-5)
    kept, largest = form_cluster(mentions, 3, 0.0)
    assert (kept.sum(), largest) == (1, 0.0)


def test_mining_is_that_of_a_loop(generator):
    anchors = torch.randn(6, 4, generator=generator)
    candidates = torch.randn(9, 4, generator=generator)
    entities, pool = [3, 3, 4, 5, 99, 8], list(range(9))
    found = hardest_negatives(anchors, candidates, gold_mask(entities, pool)).tolist()
    for anchor, entity, place in zip(anchors, entities, found, strict=True):
        others = [i for i in pool if i != entity]
        assert place == min(others, key=lambda i: distance(anchor, candidates[i]))


def test_no_negative_where_all_are_gold():
    found = hardest_negatives(torch.ones(2, 3), torch.ones(1, 3), gold_mask([7, 5], [7]))
    assert found.tolist() == [-1, 0]


def test_loss_is_that_of_a_loop(generator):
    prototypes, positives, negatives = torch.randn(3, 8, 4, generator=generator)
    expected = [
        max(0.0, distance(a, p) - distance(a, n) + 1.2)
        for a, p, n in zip(prototypes, positives, negatives, strict=True)
    ]
    found = triplet_loss(prototypes, positives, negatives)
    assert float(found) == pytest.approx(sum(expected) / 8, abs=1e-5)
    assert 0.0 in expected


def test_radius_learns_the_largest_distance():
    radius = LearnedRadius()
    assert radius.threshold == pytest.approx(11.5)
    for _ in range(3000):
        radius.update(4.0)
    assert float(radius.mean.detach()) == pytest.approx(4.0, abs=0.05)
    assert radius.threshold == pytest.approx(4.0, abs=0.1)


def test_candidates(task):
    index = CandidateIndex(task.names, n_candidates=3)
    cold, attack, none = index.find(["COLD", "heart attacks", "zzz"])
    assert [task.names.concepts[i] for i in cold[:2]] == ["C03", "C04"]
    assert task.names.concepts[attack[0]] == "C01"
    assert len(cold) <= 3
    assert index.find(["cold"]) == [cold]
    assert none == [i for i in none if 0 <= i < 9]


def test_entity_texts_begin_with_type_and_main_name(task):
    texts = describe_entities(task.kb, task.names)
    assert texts[task.names.concepts.index("C08")][:2] == ["T184", "fever"]
    assert texts[task.names.concepts.index("C77")] == ["zorblax"]


def make_encoders(kind, task, bert):
    if kind == "cnn":
        return CnnEncoders(task.nlp, learn_rate=0.01)
    return WordpieceEncoders(bert, learn_rate=0.01, precision="float32")


@pytest.mark.parametrize("kind", ["cnn", "minilm"])
def test_vectors_do_not_depend_on_the_batch(kind, task, bert):
    encoders = make_encoders(kind, task, bert)
    contexts = [Context("a very bad", "cold", "today ."), Context("", "fever and ache", "")]
    texts = [["T1", "cold", "a bad cold"], ["fever"]]
    for encode, inputs in ((encoders.mentions, contexts), (encoders.entities, texts)):
        together = encode(inputs)
        alone = torch.cat([encode([item]) for item in inputs])
        assert together.shape == alone.shape == (2, 96 if kind == "cnn" else 32)
        assert torch.allclose(together, alone, atol=1e-5)
    other = encoders.mentions([Context("no", "cold", "today .")])
    assert not torch.allclose(other, encoders.mentions(contexts[:1]), atol=1e-3)


@pytest.mark.parametrize("kind", ["cnn", "minilm"])
def test_steps_lower_the_loss(kind, task, bert):
    encoders = make_encoders(kind, task, bert)
    corpus = task.train_corpus()
    places = {concept_id: i for i, concept_id in enumerate(task.names.concepts)}
    units = form_units(corpus, places)
    candidates = CandidateIndex(task.names)
    texts = describe_entities(task.kb, task.names)
    radius, draw = LearnedRadius(), random.Random(0)
    losses = [
        train_step(encoders, units, corpus, candidates, texts, radius, draw) for _ in range(40)
    ]
    assert losses[0] > 0.5
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert radius.threshold != pytest.approx(11.5)


@pytest.mark.parametrize("kind", ["cnn", "minilm"])
def test_row(kind, task, dev, bert):
    model = str(bert) if kind == "minilm" else ""
    row = PublishedRow(encoder=kind, model=model, budget_minutes=1e-6, precision="float32")
    training = row.train(task)
    assert training.details["units"] == 7
    assert training.details["steps_of_full_training"] == 3
    assert training.details["steps"] <= 1
    assert "of 3 steps" in row.notes[0]
    found = row.link(dev, top_k=2)
    assert len(found) == len(dev.mentions)
    assert {concept_id for concept_id, _ in found[0]} <= set(task.names.concepts)
    for candidates in found:
        assert len(candidates) <= 2
        assert [score for _, score in candidates] == sorted(
            (score for _, score in candidates), reverse=True
        )


def test_unknown_encoder():
    with pytest.raises(MetricELError, match="E410"):
        PublishedRow(encoder="lstm")
