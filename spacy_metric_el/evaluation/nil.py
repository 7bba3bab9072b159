"""Abstaining, where the best score is low: pure functions, no spaCy.

A mention is NIL here if it has no gold or none of it is in the knowledge base,
so that to abstain is all that a linker can do about it.
"""

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .mentions import LinkedMention, is_right
from .metrics import share

THRESHOLDS = tuple(place / 20 for place in range(20))
"""Thresholds that are reported: 0 to 0.95."""


class NilCurve(NamedTuple):
    """What a threshold does, at t thresholds. A share of nothing is 0.

    thresholds (np.ndarray): (t,) float64. A mention is linked if its best score is
        not below.
    abstained (np.ndarray): (t,) int64, the mentions that are not linked.
    nil_precision (np.ndarray): (t,) float64, the share of them that is NIL.
    nil_recall (np.ndarray): (t,) float64, the share of the NIL mentions among them.
    link_precision (np.ndarray): (t,) float64, the share of the linked mentions that is
        linked rightly.
    link_recall (np.ndarray): (t,) float64, the share of the mentions that are not NIL
        that is linked rightly.
    link_f (np.ndarray): (t,) float64, the harmonic mean of the last two.
    """

    thresholds: np.ndarray
    abstained: np.ndarray
    nil_precision: np.ndarray
    nil_recall: np.ndarray
    link_precision: np.ndarray
    link_recall: np.ndarray
    link_f: np.ndarray

    def row(self, place: int) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The values at one threshold, the first as `threshold`."""
        keys = ("threshold", *self._fields[1:])
        return {key: column[place].item() for key, column in zip(keys, self, strict=True)}


def nil_curve(
    scores: np.ndarray, is_correct: np.ndarray, is_nil: np.ndarray, thresholds: np.ndarray
) -> NilCurve:
    """Measure abstaining and linking at thresholds.

    scores (np.ndarray): (n,) floats, the best score of each mention; minus infinity
        where there is no candidate.
    is_correct (np.ndarray): (n,) bool, whether the best candidate is right; does not
        matter for NIL mentions.
    is_nil (np.ndarray): (n,) bool, whether the mention is NIL.
    thresholds (np.ndarray): (t,) floats, in any order.
    RETURNS (NilCurve): The measures.
    """
    order = np.argsort(scores)
    abstained = np.searchsorted(scores[order], thresholds, side="left")
    # At each place, how many come before it in the order of scores.
    nil = np.concatenate(([0], np.cumsum(is_nil[order])))
    right = np.concatenate(([0], np.cumsum((is_correct & ~is_nil)[order])))
    linked_rightly = right[-1] - right[abstained]
    linked, not_nil = len(scores) - abstained, len(scores) - nil[-1]
    return NilCurve(
        thresholds,
        abstained,
        nil_precision=_shares(nil[abstained], abstained),
        nil_recall=_shares(nil[abstained], nil[-1]),
        link_precision=_shares(linked_rightly, linked),
        link_recall=_shares(linked_rightly, not_nil),
        link_f=_shares(2 * linked_rightly, linked + not_nil),
    )


def nil_average_precision(scores: np.ndarray, is_nil: np.ndarray) -> float:
    """Measure the area under precision and recall of abstaining, in steps.

    The share of NIL mentions is what scores that say nothing come to.

    scores (np.ndarray): (n,) floats, the best score of each mention; minus infinity
        where there is no candidate.
    is_nil (np.ndarray): (n,) bool, whether the mention is NIL.
    RETURNS (float): The area, 0 to 1; 0.0 when no mention is NIL.
    """
    above = np.append(np.unique(scores)[1:], np.inf)
    curve = nil_curve(scores, np.zeros(len(scores), dtype=bool), is_nil, above)
    return float(np.diff(curve.nil_recall, prepend=0.0) @ curve.nil_precision)


def best_threshold(scores: np.ndarray, is_correct: np.ndarray, is_nil: np.ndarray) -> float | None:
    """Find the threshold with the best F of linking.

    scores (np.ndarray): (n,) floats, the best score of each mention; minus infinity
        where there is no candidate.
    is_correct (np.ndarray): (n,) bool, whether the best candidate is right.
    is_nil (np.ndarray): (n,) bool, whether the mention is NIL.
    RETURNS (float | None): The lowest of several, halfway between two scores, or 0
        where all mentions are to be linked and none has a score below; None if no
        threshold gives an F above 0.
    """
    distinct = np.unique(scores[np.isfinite(scores)])
    f = nil_curve(scores, is_correct, is_nil, distinct).link_f
    if not f.any():
        return None
    place = int(np.argmax(f))
    lowest = float(distinct[place])
    if place == 0:
        return min(lowest, 0.0)
    halfway = float(distinct[place - 1] + lowest) / 2.0
    return halfway if halfway > distinct[place - 1] else lowest


def nil_metrics(
    mentions: Iterable[LinkedMention],
    *,
    kb: Container[str],
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[str, Any]:
    """Measure how well low scores tell the mentions that cannot be linked.

    mentions (Iterable[LinkedMention]): The mentions.
    kb (Container[str]): The concept ids of the knowledge base.
    thresholds (Sequence[float]): Thresholds to report.
    RETURNS (dict[str, Any]): The number of NIL `mentions` and their `share` of all;
        `average_precision` of abstaining; the fields of a `NilCurve` at each of the
        `thresholds`, and at the `best` one for F of linking (None if there is none).
    """
    everything = list(mentions)
    scores = np.array([mention.score for mention in everything])
    correct = np.array([is_right(mention) for mention in everything], dtype=bool)
    nil = np.array([_is_nil(mention, kb) for mention in everything], dtype=bool)
    curve = nil_curve(scores, correct, nil, np.array(thresholds))
    best = best_threshold(scores, correct, nil)
    return {
        "mentions": int(nil.sum()),
        "share": share(int(nil.sum()), len(everything)),
        "average_precision": nil_average_precision(scores, nil),
        "best": None if best is None else nil_curve(scores, correct, nil, np.array([best])).row(0),
        "thresholds": [curve.row(place) for place in range(len(thresholds))],
    }


def _is_nil(mention: LinkedMention, kb: Container[str]) -> bool:
    return not any(concept in kb for concept in mention.gold)


def _shares(parts: np.ndarray, wholes: np.ndarray | int) -> np.ndarray:
    """RETURNS (np.ndarray): `parts / wholes`, 0 where the whole is empty."""
    return parts / np.maximum(wholes, 1)
