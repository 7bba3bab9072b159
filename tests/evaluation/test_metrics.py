import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.evaluation.mentions import LinkedMention, is_right, reciprocal_rank
from spacy_metric_el.evaluation.metrics import (
    average,
    bootstrap_interval,
    linking_metrics,
    recall_at,
    slices,
)
from spacy_metric_el.text import normalise_name

CONCEPTS = [f"C{number}" for number in range(6)]
TEXTS = ["Aspirin", "aspirin ", "ASA", "heart attack"]


def mention(gold="", candidates="", doc_id="d", text="aspirin"):
    """`"C1 C2"` stands for two ids."""
    ranked = tuple((cui, 1.0 - 0.1 * place) for place, cui in enumerate(candidates.split()))
    return LinkedMention(doc_id, text, frozenset(gold.split()), ranked)


some_mentions = st.lists(
    st.builds(
        mention,
        gold=st.lists(st.sampled_from(CONCEPTS), max_size=2).map(" ".join),
        candidates=st.permutations(CONCEPTS).flatmap(
            lambda ids: st.integers(0, len(ids)).map(lambda n: " ".join(ids[:n]))
        ),
        doc_id=st.sampled_from("abcd"),
        text=st.sampled_from(TEXTS),
    ),
    max_size=20,
)
some_concepts = st.sets(st.sampled_from(CONCEPTS))


def naive_metrics(mentions, kb, k):
    n = n_kb = right = right_kb = hit = hit_kb = nil = 0
    reciprocal = 0.0
    for m in mentions:
        if len(m.gold) == 0:
            nil += 1
            continue
        n += 1
        inside = len(m.gold & kb) > 0
        n_kb += inside
        ids = [cui for cui, _ in m.candidates]
        top_right = len(ids) > 0 and ids[0] in m.gold
        found = len(set(ids[:k]) & m.gold) > 0
        right += top_right
        right_kb += top_right and inside
        hit += found
        hit_kb += found and inside
        places = [ids.index(cui) for cui in m.gold if cui in ids]
        if places:
            reciprocal += 1 / (min(places) + 1)
    return {
        "mentions": n,
        "nil_mentions": nil,
        "in_kb_mentions": n_kb,
        "in_kb": n_kb / n if n else 0.0,
        "acc": right / n if n else 0.0,
        "acc_in_kb": right_kb / n_kb if n_kb else 0.0,
        f"recall_at_{k}": hit / n if n else 0.0,
        f"recall_at_{k}_in_kb": hit_kb / n_kb if n_kb else 0.0,
        "mrr": reciprocal / n if n else 0.0,
    }


@given(mentions=some_mentions, kb=some_concepts, k=st.integers(2, 7))
def test_metrics_agree_with_naive_loop(mentions, kb, k):
    metrics = linking_metrics(iter(mentions), kb=kb, ks=(1, k))
    assert metrics == pytest.approx(naive_metrics(mentions, kb, k))
    assert all(type(value) in (int, float) for value in metrics.values())


@given(mentions=some_mentions, names=st.sets(st.sampled_from(TEXTS)), entities=some_concepts)
def test_slices_agree_with_naive_loop(mentions, names, entities):
    names = {normalise_name(name) for name in names}
    result = slices(iter(mentions), seen_names=names, seen_entities=entities)
    gold = [m for m in mentions if m.gold]
    groups = {
        "seen_name": [m for m in gold if normalise_name(m.text) in names],
        "unseen_name": [m for m in gold if normalise_name(m.text) not in names],
        "seen_entity": [m for m in gold if m.gold & entities],
        "unseen_entity": [m for m in gold if not m.gold & entities],
    }
    assert set(result) == set(groups)
    for key, group in groups.items():
        right = sum(m.prediction in m.gold for m in group)
        assert result[key] == {"n": len(group), "acc": right / len(group) if group else 0.0}


def test_known_values():
    mentions = [
        mention("C1", "C1 C2"),
        mention("C2", "C1 C2"),
        mention("C3 C4", "C5 C0 C1 C4"),
        mention("C5", ""),
        mention("", "C1"),
    ]
    metrics = linking_metrics(mentions, kb={"C1", "C2", "C4"}, ks=(1, 2, 64))
    assert metrics == {
        "mentions": 4,
        "nil_mentions": 1,
        "in_kb_mentions": 3,
        "in_kb": 0.75,
        "acc": 0.25,
        "acc_in_kb": pytest.approx(1 / 3),
        "recall_at_2": 0.5,
        "recall_at_2_in_kb": pytest.approx(2 / 3),
        "recall_at_64": 0.75,
        "recall_at_64_in_kb": 1.0,
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 4) / 4),
    }


@pytest.mark.parametrize("mentions", [[], [mention("", "C1"), mention()]])
def test_nothing_linked_gives_zeros(mentions):
    metrics = linking_metrics(mentions, kb=CONCEPTS)
    assert metrics.pop("nil_mentions") == len(mentions)
    assert set(metrics.values()) == {0}
    assert bootstrap_interval(mentions) == (0.0, 0.0)
    cut = slices(mentions, seen_names=(), seen_entities=())
    assert all(group == {"n": 0, "acc": 0.0} for group in cut.values())


def test_mention_without_candidates_predicts_nothing():
    assert mention("C1").prediction == ""
    assert mention("C1").rank == 0
    assert is_right(mention()) == 0.0


@pytest.mark.parametrize("k", [0, -1])
def test_recall_at_refuses_k_below_one(k):
    with pytest.raises(MetricELError) as error:
        recall_at([], k)
    assert error.value.code == "E350"


@settings(max_examples=30)
@given(mentions=some_mentions, seed=st.integers(0, 99))
def test_bootstrap_is_determined_by_seed_and_documents(mentions, seed):
    interval = bootstrap_interval(mentions, samples=50, seed=seed)
    assert interval == bootstrap_interval(iter(mentions), samples=50, seed=seed)
    assert interval == bootstrap_interval(mentions[::-1], samples=50, seed=seed)
    assert 0.0 <= interval[0] <= interval[1] <= 1.0


def uneven_documents():
    return [
        mention("C1", "C1" if (doc * 7 + place) % 3 else "C2 C1", doc_id=f"d{doc}")
        for doc in range(40)
        for place in range(1 + doc % 5)
    ]


@pytest.mark.parametrize("statistic", [is_right, reciprocal_rank])
def test_bootstrap_holds_the_mean(statistic):
    mentions = uneven_documents()
    low, high = bootstrap_interval(mentions, statistic=statistic)
    assert low < average(mentions, statistic) < high
    narrow = bootstrap_interval(mentions, statistic=statistic, level=0.5)
    assert low < narrow[0] < narrow[1] < high
    assert bootstrap_interval(mentions, statistic=statistic, seed=1) != (low, high)


def test_bootstrap_draws_documents_not_mentions():
    # Two documents, one all right, one all wrong: the mean of a draw is 0, 1/2 or 1.
    mentions = [mention("C1", f"C{1 + doc}", doc_id=str(doc)) for doc in (0, 1) for _ in range(99)]
    assert bootstrap_interval(mentions, samples=200) == (0.0, 1.0)


def test_one_document_leaves_nothing_to_resample():
    mentions = [mention("C1", "C1"), mention("C1", "C2")]
    assert bootstrap_interval(mentions, samples=10) == (0.5, 0.5)


@pytest.mark.parametrize("setting", [{"samples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_bootstrap_refuses_bad_settings(setting):
    with pytest.raises(MetricELError) as error:
        bootstrap_interval([mention("C1")], **setting)
    assert error.value.code == "E351"
