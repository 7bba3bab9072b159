"""How far scores are from the probability of being right: pure functions, no spaCy."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..errors import Errors, MetricELError
from .mentions import LinkedMention, is_right
from .metrics import share

BINS = 15
"""Bins that confidences are sorted into, as in Guo et al. (2017)."""


class CalibrationBins(NamedTuple):
    """Confidences in b bins of equal width: the bin i holds those above i / b, up to (i + 1) / b.

    counts (np.ndarray): (b,) int64, the confidences in each bin; 0 is in the first.
    confidences (np.ndarray): (b,) float64, their means; 0 for an empty bin.
    accuracies (np.ndarray): (b,) float64, the share of them that was right; 0 for an empty bin.
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray


def calibration_bins(
    confidences: np.ndarray, is_correct: np.ndarray, n_bins: int = BINS
) -> CalibrationBins:
    """Sort confidences into bins.

    confidences (np.ndarray): (n,) floats; what is outside of 0 to 1 is taken for the nearer end.
    is_correct (np.ndarray): (n,) bool, whether what one was confident of was right.
    n_bins (int): The number of bins, b.
    RETURNS (CalibrationBins): The bins.
    """
    if n_bins < 1:
        raise MetricELError(Errors.E352.format(n_bins=n_bins))
    clipped = np.clip(np.asarray(confidences, dtype=np.float64), 0.0, 1.0)
    ends = np.arange(1, n_bins + 1) / n_bins
    places = np.searchsorted(ends, clipped, side="left")
    counts = np.bincount(places, minlength=n_bins)
    sums = (np.bincount(places, values, n_bins) for values in (clipped, is_correct))
    return CalibrationBins(counts, *(total / np.maximum(counts, 1) for total in sums))


def calibration_error(bins: CalibrationBins) -> float:
    """Average the gap between confidence and accuracy: the expected calibration error.

    bins (CalibrationBins): The bins; each has the weight of its count.
    RETURNS (float): The error, 0 to 1; 0.0 when all bins are empty.
    """
    gaps = np.abs(bins.confidences - bins.accuracies)
    return share(float(bins.counts @ gaps), int(bins.counts.sum()))


def calibration(mentions: Iterable[LinkedMention], *, n_bins: int = BINS) -> dict[str, Any]:
    """Compare the score of each best candidate with whether it is right.

    mentions (Iterable[LinkedMention]): The mentions, NIL ones too: no candidate
        of these is right. One without candidates counts with a confidence of 0.
    n_bins (int): The number of bins.
    RETURNS (dict[str, Any]): The error `ece`, and the `bins` of equal width from
        0 to 1, each with `count`, mean `confidence` and `accuracy`.
    """
    everything = list(mentions)
    confidences = np.array([mention.score for mention in everything])
    correct = np.array([is_right(mention) for mention in everything])
    bins = calibration_bins(confidences, correct, n_bins)
    rows = zip(*(column.tolist() for column in bins), strict=True)
    return {
        "ece": calibration_error(bins),
        "bins": [dict(zip(("count", "confidence", "accuracy"), row, strict=True)) for row in rows],
    }
