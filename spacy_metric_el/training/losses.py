"""Losses over mentions, their entities and candidate names, with their gradients."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from thinc.types import Floats2d
from thinc.util import get_array_module

from ..errors import Errors, MetricELError
from .clusters import Clusters, LearnedRadius, membership, radius_clusters


class LinkingBatch(NamedTuple):
    """What a loss sees of one step.

    mentions (Floats2d): (n, width) unit vectors.
    entities (np.ndarray): (n,) int, the gold entity of each mention.
    names (Floats2d): (m, width) unit vectors.
    is_positive (np.ndarray): (n, m) bool, whether a name may stand for the mention's
        entity.
    is_negative (np.ndarray): (n, m) bool, whether a name is a safe negative: neither
        the gold entity bears it, nor an entity that shares a name with the gold one.
    """

    mentions: Floats2d
    entities: np.ndarray
    names: Floats2d
    is_positive: np.ndarray
    is_negative: np.ndarray


class LossResult(NamedTuple):
    """What a loss gives for one step.

    loss (float): The value.
    d_mentions (Floats2d): (n, width), its gradient with respect to the mentions.
    d_names (Floats2d): (m, width), its gradient with respect to the names.
    """

    loss: float
    d_mentions: Floats2d
    d_names: Floats2d


class LinkingLoss(Protocol):
    """What the linker asks of a loss; register one in `thinc_losses`."""

    def __call__(self, batch: LinkingBatch) -> LossResult:
        """RETURNS (LossResult): The loss of a batch, and its gradients."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): What was learned, as plain values; saved with the linker."""
        ...

    def from_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that `to_dict` gave."""
        ...


class PrototypeTriplet:
    """Triplet loss of cluster prototypes (registered as `spacy_metric_el.PrototypeTriplet.v1`).

    mean over clusters of mean over the hardest negatives of
        ReLU(d(prototype, positive) - d(prototype, negative) + margin)

    with Euclidean d between a prototype and unit vectors, the positive being the
    nearest allowed name of the entity (an entity's score is its best row's), and
    the negatives the nearest safe ones of the batch. Clusters without a positive
    or without a negative are left out. Every entity counts by its clusters, not by
    its mentions, so frequent entities do not drown rare ones.
    Source: Le & Nguyen 2023, triplet loss with cluster prototypes.

    margin (float): Above 0; vectors have length one, so distances go up to 2.
    negatives (int): Hardest negatives of each cluster, at least 1.
    radius_mean (float): Start of the learned radius' mean.
    radius_spread (float): Start of the learned radius' spread.
    radius_learn_rate (float): Step of the radius' own Adam.
    seed (int): Seed of the choice of anchors.
    RAISES (MetricELError): E230 for a margin or a number of negatives out of range.
    """

    def __init__(
        self,
        *,
        margin: float = 0.5,
        negatives: int = 4,
        radius_mean: float = 0.8,
        radius_spread: float = 0.1,
        radius_learn_rate: float = 0.01,
        seed: int = 0,
    ) -> None:
        if margin <= 0 or negatives < 1:
            raise MetricELError(Errors.E230.format(margin=margin, negatives=negatives))
        self.margin = margin
        self.negatives = negatives
        self.radius = LearnedRadius(radius_mean, radius_spread, radius_learn_rate)
        self.rng = np.random.default_rng(seed)

    def __call__(self, batch: LinkingBatch) -> LossResult:
        """Form clusters, compute loss and gradients, and take one step of the radius.

        batch (LinkingBatch): Mentions, names and which may go with which.
        RETURNS (LossResult): Loss and gradients.
        """
        clusters = radius_clusters(batch.mentions, batch.entities, self.radius.radius, self.rng)
        result = prototype_triplet(batch, clusters, margin=self.margin, negatives=self.negatives)
        kept = clusters.distances < self.radius.radius
        # An anchor is at 0 from itself; counted, batches without a cluster would shrink the radius.
        kept[clusters.anchors] = False
        if kept.any():
            self.radius.update(float(clusters.distances[kept].max()))
        return result

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): What was learned: the radius."""
        return {"radius": self.radius.to_dict()}

    def from_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that `to_dict` gave."""
        self.radius.from_dict(state["radius"])


def prototype_triplet(
    batch: LinkingBatch, clusters: Clusters, *, margin: float, negatives: int
) -> LossResult:
    """Compute the loss and its gradients for clusters that are given.

    batch (LinkingBatch): Mentions, names and which may go with which.
    clusters (Clusters): Of the batch's mentions.
    margin (float): Of the triplets.
    negatives (int): Hardest negatives of each cluster.
    RETURNS (LossResult): Loss and gradients.
    """
    xp = get_array_module(batch.mentions)
    average = membership(batch.mentions, clusters)
    P, N = average @ batch.mentions, batch.names
    d_mentions, d_names = xp.zeros_like(batch.mentions), xp.zeros_like(N)
    if not len(N):
        return LossResult(0.0, d_mentions, d_names)
    positive = xp.asarray(_cluster_positives(batch.is_positive, clusters))
    negative = xp.asarray(_over_clusters(batch.is_negative, clusters, every=True))
    squared = (P**2).sum(axis=1, keepdims=True) + (N**2).sum(axis=1) - 2.0 * P @ N.T
    # Below the rounding error of `squared` a distance is noise, and dividing by it explodes.
    distance = xp.sqrt(xp.maximum(squared, 1e-6))
    used = positive.any(axis=1) & negative.any(axis=1)
    n_used = int(used.sum())
    if not n_used:
        return LossResult(0.0, d_mentions, d_names)
    nearest_positive = xp.where(positive, distance, xp.inf).argmin(axis=1)
    rows = xp.arange(len(P))
    d_positive = distance[rows, nearest_positive]
    hard = xp.where(negative, distance, xp.inf)
    hardest = xp.argsort(hard, axis=1)[:, :negatives]
    d_hardest = xp.take_along_axis(hard, hardest, axis=1)
    real = xp.isfinite(d_hardest) & used[:, None]
    violation = xp.where(real, d_positive[:, None] - d_hardest + margin, 0.0)
    active = real & (violation > 0)
    share = active / xp.maximum(real.sum(axis=1, keepdims=True), 1) / n_used
    loss = float((violation * share).sum())
    # d distance(p, x) / d p = (p - x) / distance, and the opposite for x.
    weights = xp.zeros_like(distance)
    weights[rows, nearest_positive] += share.sum(axis=1)
    xp.add.at(weights, (rows[:, None], hardest), -share)
    weights /= distance
    d_prototypes = weights.sum(axis=1, keepdims=True) * P - weights @ N
    d_names = weights.sum(axis=0)[:, None] * N - weights.T @ P
    d_mentions = average.T @ d_prototypes
    return LossResult(loss, d_mentions.astype("float32"), d_names.astype("float32"))


def _cluster_positives(is_positive: np.ndarray, clusters: Clusters) -> np.ndarray:
    """RETURNS (np.ndarray): (C, m) bool, the names that are positive for all mentions of a cluster, or else for any."""
    for_all = _over_clusters(is_positive, clusters, every=True)
    for_any = _over_clusters(is_positive, clusters, every=False)
    return np.where(for_all.any(axis=1, keepdims=True), for_all, for_any)


def _over_clusters(mask: np.ndarray, clusters: Clusters, *, every: bool) -> np.ndarray:
    members = clusters.labels[None] == np.arange(clusters.n_clusters)[:, None]
    counts = members.astype(np.float32) @ mask.astype(np.float32)
    return counts == members.sum(axis=1, keepdims=True) if every else counts > 0
