import math

import numpy as np
import pytest

from spacy_metric_el.ranking import ranker as ranker_module
from spacy_metric_el.ranking.features import FEATURES, NameWordings
from spacy_metric_el.ranking.prototypes import PROTOTYPE_FEATURES
from spacy_metric_el.ranking.ranker import CandidateRanker
from spacy_metric_el.ranking.wording import WORDING_FEATURES, compare_wordings, read_wording
from spacy_metric_el.text import normalise_name

from ..kb.vocabulary import ENTITIES
from .corpus import Mention, candidates_of, learn, records_of, table_of

TRAINING = [
    Mention(0, "cold", "C1", "Disease", (1, 0)),
    Mention(0, "Cold", "C1", "Disease", (1, 0)),
    Mention(0, "cold", "C2", "Other", (0, 1)),
    Mention(1, "cold", "C1", "Disease", (0, 1)),
    Mention(1, "bad cold", "C5", "Disease", (1, 0)),
    Mention(2, "bad cold", "C5", "Disease", (1, 0)),
]
ASKED = [
    Mention(0, "cold", "C1", "Disease", (1, 0)),
    Mention(0, "MI", "C3", "Disease", (1, 0), long="myocardial infarction"),
    Mention(1, "no such word", "C1", "Disease", (0, 0, 0, 0, 0, 0, 0, 1)),
    Mention(2, "Bad cold", "C5", "Disease", (0, 1)),
]


@pytest.fixture(scope="module")
def records():
    return records_of(ENTITIES, TRAINING)


@pytest.fixture
def features_of(records, monkeypatch):
    """A function that returns candidates, made-up evidence of other modules, and the features."""
    prototypes, labels, _ = learn(TRAINING, records)
    ranker = CandidateRanker(records, prototypes, labels)

    def gather(mentions, own=None, seed=0):
        candidates, channels = candidates_of(mentions, records, own)
        rng = np.random.default_rng(seed)
        near = rng.uniform(-1, 1, (len(candidates.rows), len(PROTOTYPE_FEATURES)))
        near[:, 2] = rng.integers(0, 2, len(near))
        near[:, :2] *= near[:, 2:]
        near = near.astype(np.float32)
        agreement = rng.choice([-1.0, 0.0, 1.0], len(near)).astype(np.float32)
        monkeypatch.setattr(ranker_module, "compare_prototypes", lambda *args: near)
        monkeypatch.setattr(ranker_module, "label_agreement", lambda *args: agreement.copy())
        found = ranker.features(candidates, channels, table_of(mentions), own)
        return candidates, channels, near, agreement, found

    return gather


def naive_row(mention, pair, run, records, evidence, own_count):
    """RETURNS (dict[str, float]): What speaks for one pair, by the names of features."""
    candidates, channels, prototypes, agreement, _ = evidence
    key = records.names["key"][int(candidates.names[pair])].as_py()
    long = mention.long or mention.text
    is_exact = [normalise_name(text) == key for text in (mention.text, long)]
    entity = candidates.entities[pair]
    count = int(records.entity_counts[entity]) - own_count(mention, entity)
    log_prior = float(candidates.log_priors[pair])
    nearest, mean, has = prototypes[pair]
    means = [prototypes[other][1] for other in run if prototypes[other][2]]
    return {
        "similarity": candidates.similarities[pair],
        "surface": channels[pair, 0],
        "context": channels[pair, 1],
        "written": candidates.written[pair],
        "long": candidates.long[pair],
        "gap": candidates.similarities[pair] - max(candidates.similarities[i] for i in run),
        "log_rows": math.log(candidates.n_rows[pair]),
        "is_name": 1.0,
        "is_preferred": key == preferred_key(records, entity),
        "exact_written": is_exact[0],
        "exact_long": is_exact[1],
        "log_prior": log_prior,
        "log_prior_if_exact": log_prior if any(is_exact) else 0.0,
        "log_link_count": math.log(1 + candidates.link_counts[pair]),
        "log_entity_count": math.log(1 + count),
        "is_unseen": count == 0,
        "in_vocabulary": records.concept_id(entity) != "C5",
        "is_upper": mention.text == mention.text.upper(),
        "has_long_form": mention.text != long,
        "length": len(long) / 40,
        "n_words": len(long.split()) / 6,
        "nearest_prototype": nearest,
        "mean_prototype": mean,
        "has_prototype": has,
        "prototype_weight": mean * math.log(1 + count),
        "prototype_gap": mean - max(means) if has else -0.5,
        "label_agreement": agreement[pair],
    }


def preferred_key(records, entity):
    found = records.entity(entity)
    return normalise_name(found.canonical_name) if records.entity_in_vocabulary[entity] else None


@pytest.mark.parametrize("leaves_own_out", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_features_equal_a_loop(records, features_of, leaves_own_out, seed):
    mentions = TRAINING if leaves_own_out else ASKED
    own = learn(TRAINING, records)[2] if leaves_own_out else None

    def own_count(mention, entity):
        concept_id = records.concept_id(entity)
        mine = [m for m in TRAINING if m.document == mention.document]
        return sum(m.concept_id == concept_id for m in mine) if leaves_own_out else 0

    evidence = features_of(mentions, own, seed)
    candidates, found = evidence[0], evidence[-1]
    assert found.dtype == np.float32
    assert found.shape == (len(candidates.rows), len(FEATURES))
    for i, mention in enumerate(mentions):
        run = range(*candidates.offsets[i : i + 2])
        for pair in run:
            expected = naive_row(mention, pair, run, records, evidence, own_count)
            if leaves_own_out:
                # A label may be known of this document alone.
                expected["label_agreement"] *= expected["has_prototype"]
            row = {name: float(found[pair, FEATURES.index(name)]) for name in expected}
            assert row == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-6)


def test_the_wording_is_that_of_the_long_form(records, features_of):
    candidates, *_, found = features_of(ASKED)
    wordings = NameWordings(records)
    long = [read_wording(m.long or m.text) for m in ASKED]
    words = compare_wordings(long, candidates.mentions, candidates.names, wordings)
    assert words.any()
    columns = [FEATURES.index(name) for name in WORDING_FEATURES]
    assert found[:, columns].tolist() == words.tolist()


def test_each_feature_has_one_name():
    assert len(set(FEATURES)) == len(FEATURES)


@pytest.mark.parametrize("text", ["A", "ÄÖ-1", "x" * 90, " ".join("abcdefghij")])
def test_features_of_long_and_odd_texts_stay_small(features_of, text):
    mentions = [Mention(0, f"{text} cold", "C1", "", (1, 0))]
    found = features_of(mentions)[-1]
    assert len(found)
    for name in ("length", "n_words"):
        column = found[:, FEATURES.index(name)]
        assert ((column > 0) & (column <= 1)).all()


def test_features_of_nothing(features_of):
    nowhere = [ASKED[2]] * 2
    for mentions in ([], nowhere):
        candidates, *_, found = features_of(mentions)
        assert len(candidates.offsets) == len(mentions) + 1
        assert found.shape == (0, len(FEATURES))


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_words_of_names_are_remembered_up_to_a_limit(records, limit):
    wordings = NameWordings(records, limit=limit)
    for name in [*range(records.n_names), *range(records.n_names)]:
        key = records.names["key"][name].as_py()
        assert wordings(name) == read_wording(key)
        assert wordings(name) is wordings(name)
        assert len(wordings._known) <= limit
