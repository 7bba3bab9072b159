"""Abstaining by thresholds, and the links that are left."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.evaluation.mentions import LinkedMention
from spacy_metric_el.evaluation.nil import (
    THRESHOLDS,
    best_threshold,
    nil_average_precision,
    nil_curve,
    nil_metrics,
)

NOTHING = -math.inf
FIELDS = ["abstained", "nil_precision", "nil_recall", "link_precision", "link_recall", "link_f"]


def mention(gold="", *candidates):
    return LinkedMention("d", "pain", frozenset(gold.split()), candidates)


def naive_row(rows, threshold):
    """RETURNS: The fields of a curve at one threshold."""
    abstained = nil_abstained = nil = linked = right = linkable = 0
    for score, is_right, is_nil in rows:
        nil += is_nil
        linkable += not is_nil
        if score < threshold:
            abstained += 1
            nil_abstained += is_nil
        else:
            linked += 1
            right += is_right and not is_nil
    precision = right / linked if linked else 0.0
    recall = right / linkable if linkable else 0.0
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    nil_precision = nil_abstained / abstained if abstained else 0.0
    return abstained, nil_precision, nil_abstained / nil if nil else 0.0, precision, recall, f


def naive_average_precision(rows):
    """Sum the precision at each threshold, with the recall it adds."""
    area = recall = 0.0
    for score in sorted({score for score, _, _ in rows}):
        now = naive_row(rows, math.nextafter(score, math.inf) if score > NOTHING else -1e300)
        area += now[1] * (now[2] - recall)
        recall = now[2]
    return area


def arrays(rows):
    scores, correct, nil = ([row[i] for row in rows] for i in range(3))
    return np.array(scores, dtype=float), np.array(correct, bool), np.array(nil, bool)


some_scores = st.sampled_from([0.0, 0.25, 0.5, 1.0, NOTHING]) | st.floats(-2.0, 2.0)
some_rows = st.lists(st.tuples(some_scores, st.booleans(), st.booleans()), max_size=25)


@given(rows=some_rows, thresholds=st.lists(st.floats(-2.5, 2.5), max_size=5))
def test_curve_agrees_with_naive_loop(rows, thresholds):
    thresholds = [*thresholds, *(score for score, _, _ in rows if score > NOTHING)]
    curve = nil_curve(*arrays(rows), np.array(thresholds))
    assert len(curve.thresholds) == len(thresholds)
    for place, threshold in enumerate(thresholds):
        row = curve.row(place)
        assert row.pop("threshold") == threshold
        assert list(row) == FIELDS
        assert tuple(row.values()) == pytest.approx(naive_row(rows, threshold))


@given(rows=some_rows)
def test_average_precision_agrees_with_naive_loop(rows):
    scores, _, nil = arrays(rows)
    area = nil_average_precision(scores, nil)
    assert area == pytest.approx(naive_average_precision(rows))
    assert -1e-12 <= area <= 1.0 + 1e-12
    # Only the order of the scores matters.
    _, places = np.unique(scores, return_inverse=True)
    assert nil_average_precision(places, nil) == pytest.approx(area)


@given(rows=some_rows)
def test_no_threshold_is_better_than_the_best(rows):
    best = best_threshold(*arrays(rows))
    reached = {score: naive_row(rows, score)[-1] for score, _, _ in rows if score > NOTHING}
    if best is None:
        assert not any(reached.values())
    else:
        assert naive_row(rows, best)[-1] == pytest.approx(max(reached.values()))


def test_best_threshold_is_halfway_and_survives_rounding():
    scores = np.array([0.2, 0.4, 0.8, np.float32(1 - 1e-7)])
    correct = np.array([False, False, True, True])
    nil = np.array([True, True, False, False])
    assert best_threshold(scores, correct, nil) == pytest.approx(0.6)


def test_best_threshold_that_links_everything():
    correct, nil = np.array([True, True]), np.array([False, False])
    assert best_threshold(np.array([0.3, 0.6]), correct, nil) == 0.0
    assert best_threshold(np.array([-0.3, 0.6]), correct, nil) == -0.3


def test_scores_next_to_each_other_have_nothing_between():
    low, high = 0.5, math.nextafter(0.5, 1.0)
    found = best_threshold(np.array([low, high]), np.array([False, True]), np.array([True, False]))
    assert found == high


MENTIONS = [
    mention("C1", ("C1", 0.9), ("C2", 0.1)),
    mention("C2 C9", ("C2", 0.6)),
    mention("C3", ("C1", 0.7), ("C3", 0.2)),
    mention("C9", ("C3", 0.3)),
    mention("", ("C1", 0.1)),
    mention("", ("C1", 0.8)),
    mention("C1"),
]


def test_known_values():
    metrics = nil_metrics(iter(MENTIONS), kb={"C1", "C2", "C3"}, thresholds=(0.0, 0.5, 1.0))
    assert (metrics["mentions"], metrics["share"]) == (3, pytest.approx(3 / 7))
    assert metrics["thresholds"][1] == {
        "threshold": 0.5,
        "abstained": 3,
        "nil_precision": pytest.approx(2 / 3),
        "nil_recall": pytest.approx(2 / 3),
        "link_precision": pytest.approx(2 / 4),
        "link_recall": pytest.approx(2 / 4),
        "link_f": pytest.approx(2 / 4),
    }
    # In order of their scores: no candidate, 0.1 (NIL), 0.3 (NIL), 0.6, 0.7, 0.8 (NIL), 0.9.
    assert metrics["average_precision"] == pytest.approx((1 / 2 + 2 / 3 + 3 / 6) / 3)
    assert metrics["best"]["threshold"] == pytest.approx(0.45)
    assert metrics["best"]["link_f"] == pytest.approx(2 / 4)
    everything, nothing = metrics["thresholds"][0], metrics["thresholds"][2]
    # What has no candidate is linked at no threshold.
    assert (everything["abstained"], everything["nil_precision"]) == (1, 0.0)
    assert everything["link_recall"] == pytest.approx(2 / 4)
    assert (nothing["abstained"], nothing["nil_recall"], nothing["link_f"]) == (7, 1.0, 0.0)
    types = {type(value) for row in metrics["thresholds"] for value in row.values()}
    assert types == {int, float}


def test_a_right_link_outside_of_the_knowledge_base_is_no_right_link():
    metrics = nil_metrics([mention("C1", ("C1", 0.9))], kb=set())
    assert metrics["mentions"] == 1
    assert metrics["best"] is None
    assert metrics["average_precision"] == 1.0


def test_nothing():
    metrics = nil_metrics([], kb={"C1"})
    assert metrics["best"] is None
    assert [row["threshold"] for row in metrics["thresholds"]] == list(THRESHOLDS)
    assert {row["link_f"] for row in metrics["thresholds"]} == {0.0}
    assert (metrics["mentions"], metrics["share"], metrics["average_precision"]) == (0, 0.0, 0.0)


def test_all_nil():
    metrics = nil_metrics([mention("", ("C1", 0.5)), mention("C9", ("C1", 0.7))], kb={"C1"})
    assert (metrics["share"], metrics["average_precision"]) == (1.0, 1.0)
    assert metrics["best"] is None


def test_no_nil():
    metrics = nil_metrics([mention("C1", ("C1", 0.5)), mention("C1", ("C2", 0.5))], kb={"C1"})
    assert (metrics["share"], metrics["average_precision"]) == (0.0, 0.0)
    assert metrics["best"]["threshold"] == 0.0
    assert metrics["best"]["link_f"] == 0.5


def test_no_candidates():
    metrics = nil_metrics([mention("C1"), mention(), mention("C9")], kb={"C1"})
    assert metrics["best"] is None
    assert {row["abstained"] for row in metrics["thresholds"]} == {3}
    assert metrics["average_precision"] == pytest.approx(2 / 3)


def test_equal_scores_say_nothing():
    mentions = [mention("C1", ("C1", 0.5)), mention("", ("C1", 0.5)), mention("C1", ("C2", 0.5))]
    metrics = nil_metrics(mentions, kb={"C1"})
    assert metrics["average_precision"] == pytest.approx(metrics["share"])
    assert metrics["best"] == {
        "threshold": 0.0,
        "abstained": 0,
        "nil_precision": 0.0,
        "nil_recall": 0.0,
        "link_precision": pytest.approx(1 / 3),
        "link_recall": pytest.approx(1 / 2),
        "link_f": pytest.approx(2 / 5),
    }
