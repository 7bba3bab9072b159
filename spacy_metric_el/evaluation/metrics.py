"""Measures of linking over gold mentions: pure functions, no spaCy.

Mentions without gold (NIL) are counted, but they belong to no share: whether
a linker rightly abstains is the business of `nil`, and of spaCy's precision
and recall.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import Errors, MetricELError
from ..text import normalise_name
from .mentions import LinkedMention, is_right, reciprocal_rank

MentionStatistic = Callable[[LinkedMention], float]


def share(part: float, whole: float) -> float:
    """Divide without fear of an empty whole.

    part (float): The numerator.
    whole (float): The denominator.
    RETURNS (float): `part / whole`, or 0.0 for an empty whole.
    """
    return float(part / whole) if whole else 0.0


def average(mentions: Iterable[LinkedMention], statistic: MentionStatistic = is_right) -> float:
    """Average a statistic over the mentions that have gold.

    mentions (Iterable[LinkedMention]): The mentions.
    statistic (Callable[[LinkedMention], float]): The value of one mention.
    RETURNS (float): The mean; 0.0 when no mention has gold.
    """
    values = [statistic(mention) for mention in mentions if mention.gold]
    return share(sum(values), len(values))


def recall_at(mentions: Iterable[LinkedMention], k: int) -> float:
    """Measure how often the first k candidates hold a right one.

    mentions (Iterable[LinkedMention]): The mentions; those without gold are passed over.
    k (int): The number of candidates to look at.
    RETURNS (float): The share of mentions with gold that are hit.
    """
    if k < 1:
        raise MetricELError(Errors.E350.format(k=k))
    return average(mentions, lambda mention: float(1 <= mention.rank <= k))


def linking_metrics(
    mentions: Iterable[LinkedMention], *, kb: Container[str], ks: Sequence[int] = (1, 5, 64)
) -> dict[str, Any]:
    """Measure a linker over all mentions with gold, and over those it could get right.

    mentions (Iterable[LinkedMention]): The mentions.
    kb (Container[str]): The concept ids that the knowledge base holds. A
        mention is in the KB when any of its gold ids is.
    ks (Sequence[int]): The depths of recall@k; 1 is the accuracy and gets no key.
    RETURNS (dict[str, Any]): The counts `mentions` (with gold), `nil_mentions`
        and `in_kb_mentions`; the shares, from 0 to 1, `in_kb`, `acc`,
        `acc_in_kb`, `recall_at_{k}`, `recall_at_{k}_in_kb` and `mrr`.
    """
    everything = list(mentions)
    linked = [mention for mention in everything if mention.gold]
    in_kb = [mention for mention in linked if any(concept in kb for concept in mention.gold)]
    metrics: dict[str, Any] = {
        "mentions": len(linked),
        "nil_mentions": len(everything) - len(linked),
        "in_kb_mentions": len(in_kb),
        "in_kb": share(len(in_kb), len(linked)),
        "acc": average(linked),
        "acc_in_kb": average(in_kb),
    }
    for k in ks:
        if k != 1:
            metrics[f"recall_at_{k}"] = recall_at(linked, k)
            metrics[f"recall_at_{k}_in_kb"] = recall_at(in_kb, k)
    metrics["mrr"] = average(linked, reciprocal_rank)
    return metrics


def slices(
    mentions: Iterable[LinkedMention],
    *,
    seen_names: Container[str],
    seen_entities: Container[str],
) -> dict[str, dict[str, Any]]:
    """Split the accuracy by what the training data had shown.

    mentions (Iterable[LinkedMention]): The mentions; those without gold are passed over.
    seen_names (Container[str]): The mention texts of the training data, through `normalise_name`.
    seen_entities (Container[str]): The concept ids of the training data. An
        entity counts as seen when any of a mention's gold ids is.
    RETURNS (dict[str, dict[str, Any]]): The number of mentions `n` and their
        accuracy `acc` for `seen_name`, `unseen_name`, `seen_entity`, `unseen_entity`.
    """
    groups: dict[str, list[LinkedMention]] = {
        "seen_name": [],
        "unseen_name": [],
        "seen_entity": [],
        "unseen_entity": [],
    }
    for mention in mentions:
        if mention.gold:
            name = normalise_name(mention.text) in seen_names
            entity = any(concept in seen_entities for concept in mention.gold)
            groups["seen_name" if name else "unseen_name"].append(mention)
            groups["seen_entity" if entity else "unseen_entity"].append(mention)
    return {key: {"n": len(group), "acc": average(group)} for key, group in groups.items()}


def bootstrap_interval(
    mentions: Iterable[LinkedMention],
    *,
    statistic: MentionStatistic = is_right,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Bound a mean by resampling documents, as mentions of one document go together.

    mentions (Iterable[LinkedMention]): The mentions; those without gold are passed over.
    statistic (Callable[[LinkedMention], float]): The value of one mention;
        the interval is that of its mean (by default, the accuracy).
    samples (int): How many times the documents are drawn, with replacement.
    seed (int): The seed of the draws.
    level (float): The share of the resampled means between the two ends.
    RETURNS (tuple[float, float]): The lower and the upper end; zeros when no mention has gold.
    """
    if samples < 1 or not 0.0 < level < 1.0:
        raise MetricELError(Errors.E351.format(samples=samples, level=level))
    linked = [mention for mention in mentions if mention.gold]
    if not linked:
        return 0.0, 0.0
    totals, counts = _document_sums(linked, statistic)
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    # One draw at a time: all of them at once would take samples x documents of memory.
    for sample in range(samples):
        draw = rng.integers(len(counts), size=len(counts))
        means[sample] = totals[draw].sum() / counts[draw].sum()
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def _document_sums(
    mentions: Sequence[LinkedMention], statistic: MentionStatistic
) -> tuple[np.ndarray, np.ndarray]:
    """Add up a statistic and count the mentions, per document.

    RETURNS (tuple[np.ndarray, np.ndarray]): Sums and counts, each (documents,).
    """
    rows = {doc_id: row for row, doc_id in enumerate(sorted({m.doc_id for m in mentions}))}
    index = np.array([rows[mention.doc_id] for mention in mentions])
    values = np.array([statistic(mention) for mention in mentions], dtype=np.float64)
    return np.bincount(index, weights=values), np.bincount(index)
