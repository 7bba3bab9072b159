from itertools import pairwise

import numpy as np
import pytest
import srsly

from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.ranking import ranker as ranker_module
from spacy_metric_el.ranking.document import DOCUMENT_FEATURES
from spacy_metric_el.ranking.features import FEATURES
from spacy_metric_el.ranking.labels import EntityLabels
from spacy_metric_el.ranking.listwise import ScorerSettings
from spacy_metric_el.ranking.prototypes import Prototypes
from spacy_metric_el.ranking.ranker import (
    EVIDENCE,
    LEAST_SHARE,
    CandidateRanker,
    _is_worth_judging,
)

from .corpus import WIDTH, Mention, candidates_of, is_right, learn, records_of, table_of

N = 6
SETTINGS = ScorerSettings(epochs=25, batch_size=16, learn_rate=0.02, hidden_width=8)
ENTITIES = [
    Entity(f"{kind}{i}", f"{kind}{i} disease", [f"shared{i}"], [], None)
    for kind in ("alpha", "beta")
    for i in range(N)
]
"""Concepts in pairs that share a name, beside a name of their own."""

NOISE = Entity("noise", "noise", [], [], None)


def near(direction, rng, noise=0.3):
    """RETURNS (tuple): A unit vector near a direction."""
    vector = direction + noise * rng.normal(size=WIDTH)
    return tuple(vector / np.linalg.norm(vector))


def directions():
    vectors = np.random.default_rng(0).normal(size=(len(ENTITIES), WIDTH))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_context(seed, n_each=4, first=0):
    """Documents of one mention: only the context tells which of two concepts is meant."""
    rng = np.random.default_rng(seed)
    concepts = list(zip(ENTITIES, directions(), strict=True)) * n_each
    return [
        Mention(first + i, entity.aliases[0], entity.concept_id, "", near(direction, rng))
        for i, (entity, direction) in enumerate(concepts)
    ]


def by_document(seed, n_each=4, first=0):
    """Documents of two mentions: the other one tells, the contexts are noise."""
    rng = np.random.default_rng(seed)
    return [
        Mention(first + i, text, entity.concept_id, "", near(np.zeros(WIDTH), rng))
        for i, entity in enumerate(ENTITIES * n_each)
        for text in (entity.aliases[0], entity.canonical_name)
    ]


def fit(mentions, settings=SETTINGS, hidden=()):
    """RETURNS (tuple): A ranker that was fitted to mentions, and the loss."""
    records = records_of([*ENTITIES, NOISE], mentions)
    prototypes, labels, own = learn(mentions, records)
    candidates, channels = candidates_of(mentions, records, own)
    ranker = CandidateRanker(records, prototypes, labels, settings)
    right = is_right(mentions, candidates, records)
    loss = ranker.fit(candidates, channels, table_of(mentions), right, own, hidden=hidden)
    return ranker, loss


def rank(ranker, mentions, top_k=20):
    """RETURNS (list[list[tuple]]): Concept ids and probabilities of each mention, best first."""
    candidates, channels = candidates_of(mentions, ranker.records)
    found, p = ranker.rank(candidates, channels, table_of(mentions), top_k=top_k)
    assert p.shape == found.entities.shape
    ids = [ranker.records.concept_id(entity) for entity in found.entities]
    pairs = list(zip(ids, p.tolist(), strict=True))
    return [pairs[a:b] for a, b in pairwise(found.offsets)]


def surprises(ranker, mentions):
    """RETURNS (np.ndarray): The negative log-probability of what each mention means."""
    everything = zip(mentions, rank(ranker, mentions), strict=True)
    return -np.log([dict(found)[mention.concept_id] for mention, found in everything])


@pytest.fixture(scope="module")
def fitted():
    return fit(by_context(seed=0))


@pytest.mark.parametrize("make_mentions", [by_context, by_document])
def test_shared_names_are_distinguished_in_new_documents(make_mentions):
    ranker, loss = fit(make_mentions(seed=0))
    asked = make_mentions(seed=1, n_each=3)
    unfitted = CandidateRanker(ranker.records, ranker.prototypes, ranker.labels, SETTINGS)
    before = surprises(unfitted, asked).mean()
    assert loss < 0.5 * before
    assert surprises(ranker, asked).mean() < 0.5 * before
    is_first = [
        found[0][0] == mention.concept_id and found[0][1] > 0.5
        for mention, found in zip(asked, rank(ranker, asked), strict=True)
    ]
    assert np.mean(is_first) > 0.9


def test_without_the_other_mention_the_document_does_not_tell():
    ranker, _ = fit(by_document(seed=0))
    asked = by_document(seed=1)
    alone = [m._replace(document=i) for i, m in enumerate(asked)]
    is_shared = np.asarray([m.text.startswith("shared") for m in asked])
    together, apart = (surprises(ranker, mentions)[is_shared] for mentions in (asked, alone))
    assert apart.mean() > 2 * together.mean()


def test_hidden_evidence_does_not_tell():
    hidden = (*DOCUMENT_FEATURES, "similarity")
    ranker, _ = fit(by_document(seed=0), hidden=hidden)
    for scorer in (ranker.alone, ranker.together):
        seen = {name for name, scale in zip(EVIDENCE, scorer.scale, strict=False) if scale}
        assert "written" in seen
        assert not seen & set(hidden)
    asked = by_document(seed=1)
    alone = [m._replace(document=i) for i, m in enumerate(asked)]
    assert (surprises(ranker, asked) == surprises(ranker, alone)).all()


def test_documents_are_kept_apart_wherever_their_mentions_stand():
    ranker, _ = fit(by_document(seed=0))
    asked = by_document(seed=1, n_each=1)
    order = np.random.default_rng(0).permutation(len(asked))
    shuffled = rank(ranker, [asked[i] for i in order])
    expected = rank(ranker, asked)
    for found, i in zip(shuffled, order, strict=True):
        assert dict(found) == pytest.approx(dict(expected[i]), abs=1e-6)


def test_probabilities_are_sorted_and_sum_to_at_most_one(fitted):
    ranker, _ = fitted
    asked = [*by_context(seed=2), *by_document(seed=2, first=1000)]
    everything = rank(ranker, asked)
    assert max(len(found) for found in everything) == N + N
    for found in everything:
        p = [value for _, value in found]
        assert min(p) >= 0.0
        assert sum(p) <= 1.0 + 1e-6
        assert p == sorted(p, reverse=True)
    for top_k in (1, 2):
        assert rank(ranker, asked, top_k) == [found[:top_k] for found in everything]


def test_a_mention_of_nothing_known_teaches_none_of_them():
    known = by_context(seed=0)
    unknown = [Mention(5000 + i, "noise", "elsewhere", "", (1, 0)) for i in range(40)]
    mentions = [*known, *unknown]
    records = records_of([*ENTITIES, NOISE], known)
    prototypes, labels, own = learn(known, records)
    table = table_of(mentions)
    own = own._replace(
        usage=own.usage._replace(documents=table.documents),
        mentions=own.mentions._replace(documents=table.documents),
    )
    candidates, channels = candidates_of(mentions, records, own)
    right = is_right(mentions, candidates, records)
    ranker = CandidateRanker(records, prototypes, labels, SETTINGS)
    ranker.fit(candidates, channels, table, right, own)
    found = rank(ranker, [Mention(0, "noise", "", "", (0, 1)), *by_context(1, 1, first=1)])
    assert [cid for cid, _ in found[0]] == ["noise"]
    assert sum(p for _, p in found[0]) < 0.2
    assert np.mean([sum(p for _, p in run) for run in found[1:]]) > 0.8


def test_fitting_is_the_same_for_the_same_seed():
    mentions = by_context(seed=0, n_each=2)
    states = [
        srsly.msgpack_dumps(fit(mentions, SETTINGS._replace(epochs=2, seed=seed))[0].to_dict())
        for seed in (0, 0, 1)
    ]
    assert states[0] == states[1]
    assert states[0] != states[2]


def labelled():
    """Mentions with labels, which the ranker has then learned as well."""
    return [
        m._replace(label="Disease" if m.concept_id < "b" else "Symptom") for m in by_context(seed=0)
    ]


@pytest.mark.parametrize("goes_through_bytes", [False, True])
def test_a_saved_ranker_gives_the_same_probabilities(goes_through_bytes):
    ranker, _ = fit(labelled())
    state = ranker.to_dict()
    if goes_through_bytes:
        state = srsly.msgpack_loads(srsly.msgpack_dumps(state))
    loaded = CandidateRanker.from_dict(state, ranker.records)
    asked = [m._replace(label="Symptom") for m in by_context(seed=1)]
    assert rank(loaded, asked) == rank(ranker, asked)
    assert loaded.settings == ranker.settings
    assert state["features"] == EVIDENCE
    again = srsly.msgpack_dumps(loaded.to_dict())
    assert again == srsly.msgpack_dumps(ranker.to_dict())


def learned(ranker):
    """RETURNS (dict): Prototypes and label of each concept, by its id."""
    known = {}
    for entity in range(ranker.records.n_entities):
        own = ranker.prototypes.entities == entity
        number = ranker.labels.of_entity[entity]
        label = ranker.labels.labels[number] if number >= 0 else None
        sums, sizes = ranker.prototypes.sums[own], ranker.prototypes.sizes[own]
        known[ranker.records.concept_id(entity)] = sums.tolist(), sizes.tolist(), label
    return known


def test_a_ranker_fits_a_vocabulary_that_was_built_anew():
    mentions = labelled()
    ranker, _ = fit(mentions)
    gone = {"alpha0", "beta0"}
    rest = [entity for entity in reversed(ENTITIES) if entity.concept_id not in gone]
    new = [Entity(cid, f"{cid} word", [], [], None) for cid in ("aaa", "aab", "alpha1b", "zzz")]
    left = [m for m in mentions if m.concept_id not in gone]
    records = records_of([*new, *rest, NOISE], left)
    assert records.entity_index("beta5") != ranker.records.entity_index("beta5")
    loaded = CandidateRanker.from_dict(ranker.to_dict(), records)
    known = learned(ranker)
    expected = {cid: known[cid] for cid in known if cid not in gone}
    expected |= {entity.concept_id: ([], [], None) for entity in new}
    assert learned(loaded) == expected
    owners = loaded.prototypes.entities
    assert owners.tolist() == sorted(owners.tolist())
    assert len(owners) == sum(len(sizes) for _, sizes, _ in expected.values())
    assert known["alpha1"][2] == "Disease"
    asked = [m for m in by_context(seed=1) if m.concept_id not in gone]
    for found, before in zip(rank(loaded, asked), rank(ranker, asked), strict=True):
        assert len(found) == 2
        assert dict(found) == pytest.approx(dict(before), abs=1e-6)


def test_nothing_to_rank(fitted):
    ranker, _ = fitted
    assert rank(ranker, []) == []
    nowhere = Mention(0, "word", "", "", (0, 1))
    assert rank(ranker, [nowhere, nowhere]) == [[], []]
    known = by_context(seed=1)[0]._replace(document=1)
    found = rank(ranker, [nowhere, known, nowhere])
    assert [len(run) for run in found] == [0, 2, 0]
    assert dict(found[1]) == pytest.approx(dict(rank(ranker, [known])[0]), abs=1e-6)


def untaught(records):
    """RETURNS (CandidateRanker): One that knows no prototypes and no labels."""
    none = np.zeros(0, dtype=np.int64)
    prototypes = Prototypes(np.zeros((0, WIDTH), np.float32), none.astype(np.float32), none)
    labels = EntityLabels([], np.full(records.n_entities, -1, dtype=np.int32))
    return CandidateRanker(records, prototypes, labels, SETTINGS)


def test_a_ranker_without_prototypes_can_be_saved_and_used(fitted):
    records = fitted[0].records
    ranker = untaught(records)
    state = srsly.msgpack_loads(srsly.msgpack_dumps(ranker.to_dict()))
    loaded = CandidateRanker.from_dict(state, records)
    asked = by_context(seed=1)
    found = rank(loaded, asked)
    assert found == rank(ranker, asked)
    # With weights that start at zero, two candidates and none of them are alike.
    assert [p for _, p in found[0]] == pytest.approx([1 / 3, 1 / 3])


def test_fitting_to_nothing_changes_nothing(fitted):
    mentions = by_context(seed=0, n_each=1)
    records = fitted[0].records
    _, _, own = learn(mentions, records)
    for judged in ([], [Mention(0, "word", "", "", (0, 1))]):
        ranker = untaught(records)
        candidates, channels = candidates_of(judged, records)
        none = np.zeros(0, dtype=bool)
        assert ranker.fit(candidates, channels, table_of(judged), none, own) == 0.0
        expected = srsly.msgpack_dumps(untaught(records).to_dict())
        assert srsly.msgpack_dumps(ranker.to_dict()) == expected


def test_the_second_scorer_sees_what_the_first_does_and_more():
    assert EVIDENCE[: len(FEATURES)] == list(FEATURES)
    assert len(set(EVIDENCE)) == len(EVIDENCE) > len(FEATURES)


def test_candidates_that_are_late_and_much_less_similar_are_not_judged(fitted, monkeypatch):
    ranker, _ = fitted
    monkeypatch.setattr(ranker_module, "JUDGED", 1)
    mentions = by_context(seed=1, n_each=1)
    candidates, channels = candidates_of(mentions, ranker.records)
    last = candidates.offsets[1:] - 1
    similarities = candidates.similarities.copy()
    similarities[last] = 0.99 * LEAST_SHARE * similarities[candidates.offsets[:-1]]
    candidates = candidates._replace(similarities=similarities)
    channels = np.random.default_rng(0).random(channels.shape, dtype=np.float32)
    found, p = ranker.rank(candidates, channels, table_of(mentions), top_k=20)
    assert len(p) == len(candidates.entities)
    assert np.flatnonzero(p == 0).tolist() == last.tolist()
    assert found.entities[last].tolist() == candidates.entities[last].tolist()
    kept = np.delete(np.arange(len(p)), last)
    offsets = candidates.offsets - np.arange(len(candidates.offsets))
    fewer = candidates.take(kept, offsets)
    others, q = ranker.rank(fewer, channels[kept], table_of(mentions), top_k=20)
    assert q.tolist() == p[kept].tolist()
    assert others.entities.tolist() == found.entities[kept].tolist()
    monkeypatch.setattr(ranker_module, "JUDGED", 2)
    assert (np.diff(candidates.offsets) == 2).all()
    assert (ranker.rank(candidates, channels, table_of(mentions), top_k=20)[1] > 0).all()


def test_first_and_near_candidates_are_judged(fitted, monkeypatch):
    ranker, _ = fitted
    candidates, _ = candidates_of(by_context(seed=1, n_each=1), ranker.records)
    assert (np.diff(candidates.offsets) == 2).all()
    similarities = candidates.similarities.copy()
    starts, lasts = candidates.offsets[:-1], candidates.offsets[1:] - 1
    similarities[lasts] = np.float32(LEAST_SHARE) * similarities[starts]
    similarities[lasts[0]] *= np.float32(0.999)
    candidates = candidates._replace(similarities=similarities)
    monkeypatch.setattr(ranker_module, "JUDGED", 1)
    assert np.flatnonzero(~_is_worth_judging(candidates)).tolist() == [1]
    monkeypatch.setattr(ranker_module, "JUDGED", 2)
    assert _is_worth_judging(candidates).all()


def test_of_many_near_candidates_the_first_are_judged_and_others_never(fitted, monkeypatch):
    ranker, _ = fitted
    mentions = by_context(seed=1, n_each=1)[:1]
    candidates, channels = candidates_of(mentions, ranker.records)
    pairs = np.asarray([0, 1, 1, 1, 1])
    candidates = candidates.take(pairs, np.asarray([0, 5]))
    candidates = candidates._replace(
        entities=np.arange(5, dtype=np.int32), is_near=np.asarray([1, 1, 1, 1, 0], dtype=bool)
    )
    assert _is_worth_judging(candidates).tolist() == [True, True, True, True, False]
    monkeypatch.setattr(ranker_module, "RANKED_CANDIDATES", 3)
    assert _is_worth_judging(candidates).tolist() == [True, True, True, False, False]
    table = table_of(mentions)
    found, p = ranker.rank(candidates, channels[pairs], table, top_k=9)
    assert found.entities[3:].tolist() == [3, 4]
    assert p[3:].tolist() == [0, 0]
    few, q = ranker.rank(candidates.take(np.arange(3)), channels[pairs[:3]], table, top_k=9)
    assert few.entities.tolist() == found.entities[:3].tolist()
    assert q.tolist() == p[:3].tolist()


def test_what_is_not_judged_stays_in_order(fitted, monkeypatch):
    ranker, _ = fitted
    mentions = by_context(seed=1, n_each=1)[:1]
    candidates, channels = candidates_of(mentions, ranker.records)
    # The same pair three times more, by entities whose numbers fall.
    pairs = np.asarray([0, 1, 1, 1, 1])
    candidates = candidates.take(pairs, np.asarray([0, 5]))
    candidates = candidates._replace(
        entities=np.asarray([0, 9, 8, 7, 6], dtype=np.int32),
        base=np.float32([0.9, 0.5, 0.05000001, 0.05, 0.05]),
        similarities=np.float32([0.9, 0.1, 0.1, 0.1, 0.1]),
    )
    monkeypatch.setattr(ranker_module, "JUDGED", 1)
    found, p = ranker.rank(candidates, channels[pairs], table_of(mentions), top_k=9)
    assert found.entities.tolist() == [0, 9, 8, 7, 6]
    assert p[0] > 0
    assert p[1:].tolist() == [0, 0, 0, 0]
