"""Expected calibration error, and the bins that it is taken from."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.evaluation.calibration import (
    calibration,
    calibration_bins,
    calibration_error,
)
from spacy_metric_el.evaluation.mentions import LinkedMention


def mention(gold="", *candidates):
    return LinkedMention("d", "pain", frozenset(gold.split()), candidates)


def naive_bins(pairs, n_bins):
    """RETURNS: Count, mean confidence and accuracy of each bin, and the error."""
    members = [[] for _ in range(n_bins)]
    for confidence, correct in pairs:
        clipped = min(max(confidence, 0.0), 1.0)
        for i in range(n_bins):
            if clipped <= (i + 1) / n_bins:
                members[i].append((clipped, correct))
                break
    rows, error = [], 0.0
    for inside in members:
        n = len(inside)
        confidence = sum(c for c, _ in inside) / n if n else 0.0
        accuracy = sum(r for _, r in inside) / n if n else 0.0
        rows.append((n, confidence, accuracy))
        error += n * abs(confidence - accuracy) / len(pairs) if n else 0.0
    return rows, error


some_pairs = st.lists(
    st.tuples(
        st.floats(-0.5, 1.5) | st.integers(0, 15).map(lambda i: i / 15),
        st.booleans(),
    ),
    max_size=30,
)


@given(pairs=some_pairs, n_bins=st.sampled_from([1, 2, 10, 15]))
@example(pairs=[], n_bins=15)
@example(pairs=[(0.3, True), (0.3, False), (0.3, False)], n_bins=10)
def test_bins_agree_with_naive_loop(pairs, n_bins):
    confidences = np.array([confidence for confidence, _ in pairs])
    correct = np.array([right for _, right in pairs], dtype=bool)
    bins = calibration_bins(confidences, correct, n_bins)
    rows, error = naive_bins(pairs, n_bins)
    np.testing.assert_allclose(np.stack(bins, axis=1), rows, atol=1e-12)
    assert calibration_error(bins) == pytest.approx(error)


@given(pairs=some_pairs)
def test_error_is_bounded_and_that_of_one_bin_is_the_gap_of_the_means(pairs):
    confidences = np.array([confidence for confidence, _ in pairs])
    correct = np.array([right for _, right in pairs], dtype=bool)
    fine, coarse = (
        calibration_error(calibration_bins(confidences, correct, n_bins)) for n_bins in (15, 1)
    )
    assert -1e-12 <= coarse <= fine + 1e-12 <= 1.0 + 1e-9
    if pairs:
        gap = abs(np.clip(confidences, 0, 1).mean() - correct.mean())
        assert coarse == pytest.approx(gap)


def test_a_bin_holds_its_upper_end():
    bins = calibration_bins(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.ones(5, dtype=bool), 4)
    assert bins.counts.tolist() == [2, 1, 1, 1]
    assert bins.confidences.tolist() == [0.125, 0.5, 0.75, 1.0]


def test_every_gold_mention_counts():
    mentions = [
        mention("C1", ("C1", 0.9), ("C2", 0.05)),
        mention("C2 C3", ("C3", 0.9)),
        mention("C1", ("C2", 0.9), ("C1", 0.1)),
        mention("", ("C1", 0.4)),
        mention("C1"),
        mention(),
    ]
    found = calibration(iter(mentions), n_bins=2)
    assert found["bins"] == [
        {"count": 3, "confidence": pytest.approx(0.4 / 3), "accuracy": 0.0},
        {"count": 3, "confidence": pytest.approx(0.9), "accuracy": pytest.approx(2 / 3)},
    ]
    assert found["ece"] == pytest.approx((0.4 + 0.7) / 6)
    assert [type(value) for value in found["bins"][0].values()] == [int, float, float]


@pytest.mark.parametrize(
    ("mentions", "error"),
    [
        ([], 0.0),
        ([mention("C1"), mention()], 0.0),
        ([mention("", ("C1", 0.5))] * 3, 0.5),
        ([mention("C1", ("C1", 0.5)), mention("C1", ("C2", 0.5))], 0.0),
        ([mention("C1", ("C1", 17.0)), mention("C1", ("C2", -3.0))], 0.0),
    ],
    ids=["nothing", "no candidates", "all NIL", "equal scores", "no probabilities"],
)
def test_edges(mentions, error):
    found = calibration(mentions)
    assert found["ece"] == pytest.approx(error)
    assert len(found["bins"]) == 15
    assert sum(row["count"] for row in found["bins"]) == len(mentions)


def test_no_bins_are_refused():
    with pytest.raises(MetricELError) as error:
        calibration([], n_bins=0)
    assert error.value.code == "E352"
