"""Clusters of the mentions of one entity, inside a learned radius (Le & Nguyen 2023).

Pure functions over arrays; `xp` is numpy or cupy, whichever the arrays are of.
"""

from typing import Any, NamedTuple

import numpy as np
from thinc.types import Floats2d
from thinc.util import get_array_module


class Clusters(NamedTuple):
    """A partition of mentions.

    labels (np.ndarray): (n,) int, the cluster of each mention, 0 .. C - 1.
    anchors (np.ndarray): (C,) int, the mention that each cluster was grown from.
    distances (np.ndarray): (n,) float32, distance of each mention to the anchor of
        its entity, kept or not.
    """

    labels: np.ndarray
    anchors: np.ndarray
    distances: np.ndarray

    @property
    def n_clusters(self) -> int:
        """RETURNS (int): C, the number of clusters."""
        return len(self.anchors)


def radius_clusters(
    mentions: Floats2d, entities: np.ndarray, radius: float, rng: np.random.Generator
) -> Clusters:
    """Grow one cluster per entity around a random anchor; mentions outside stay alone.

    mentions (Floats2d): (n, width).
    entities (np.ndarray): (n,) int, the entity of each mention.
    radius (float): Euclidean; a mention is kept if it is nearer to the anchor.
    rng (np.random.Generator): Chooses the anchors.
    RETURNS (Clusters): The partition. Source: Le & Nguyen 2023, cluster forming.
    """
    n = len(entities)
    _, groups = np.unique(entities, return_inverse=True)
    n_groups = int(groups.max()) + 1 if n else 0
    anchors = np.zeros(n_groups, dtype=np.int64)
    shuffled = rng.permutation(n)
    anchors[groups[shuffled]] = shuffled
    xp = get_array_module(mentions)
    gaps = xp.linalg.norm(mentions - mentions[xp.asarray(anchors[groups])], axis=1)
    distances = np.asarray(gaps.get() if hasattr(gaps, "get") else gaps, dtype=np.float32)
    kept = distances < radius
    kept[anchors] = True
    alone = np.flatnonzero(~kept)
    labels = groups.astype(np.int64)
    labels[alone] = n_groups + np.arange(len(alone))
    return Clusters(labels, np.concatenate((anchors, alone)), distances)


def prototypes(mentions: Floats2d, clusters: Clusters) -> Floats2d:
    """Average the mentions of each cluster.

    mentions (Floats2d): (n, width).
    clusters (Clusters): Of the n mentions.
    RETURNS (Floats2d): (C, width), the prototypes.
    """
    return membership(mentions, clusters) @ mentions


def membership(mentions: Floats2d, clusters: Clusters) -> Floats2d:
    """Make the matrix that averages mentions over clusters.

    mentions (Floats2d): (n, width), for its kind of array.
    clusters (Clusters): Of the n mentions.
    RETURNS (Floats2d): (C, n), each row sums to one. Its transpose carries the
        gradient of the prototypes back to the mentions.
    """
    xp = get_array_module(mentions)
    sizes = np.bincount(clusters.labels, minlength=clusters.n_clusters)
    matrix = np.zeros((clusters.n_clusters, len(clusters.labels)), dtype=np.float32)
    matrix[clusters.labels, np.arange(len(clusters.labels))] = 1.0 / sizes[clusters.labels]
    return xp.asarray(matrix)


class LearnedRadius:
    """Mean and spread of the batches' largest kept distance, learned by gradient descent.

    Both are scalars with an Adam of their own; each step minimises the squared
    error of the mean against the batch's largest kept distance, and of the spread
    against that distance's deviation from the mean.
    Source: Le & Nguyen 2023; radius = mean + 1.5 * spread.

    mean (float): Start of the mean, in the units of the vectors' distances.
    spread (float): Start of the spread.
    learn_rate (float): Adam's step.
    """

    def __init__(self, mean: float = 0.8, spread: float = 0.1, learn_rate: float = 0.01) -> None:
        self.values = np.asarray([mean, spread], dtype=np.float64)
        self.learn_rate = learn_rate
        self.step = 0
        self.moments = np.zeros((2, 2), dtype=np.float64)

    @property
    def radius(self) -> float:
        """RETURNS (float): mean + 1.5 * spread."""
        return float(self.values[0] + 1.5 * self.values[1])

    def update(self, largest: float) -> None:
        """Take one step towards a batch.

        largest (float): The batch's largest kept distance to an anchor.
        """
        mean, spread = self.values
        gradient = 2.0 * np.asarray([mean - largest, spread - abs(largest - mean)])
        self.step += 1
        first, second = self.moments
        first[:] = 0.9 * first + 0.1 * gradient
        second[:] = 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.9**self.step), second / (1 - 0.999**self.step)
        self.values = self.values - self.learn_rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        self.values[1] = max(self.values[1], 0.0)

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The state, as plain numbers."""
        return {
            "values": self.values.tolist(),
            "step": self.step,
            "moments": self.moments.tolist(),
        }

    def from_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that `to_dict` gave."""
        self.values = np.asarray(state["values"], dtype=np.float64)
        self.step = int(state["step"])
        self.moments = np.asarray(state["moments"], dtype=np.float64)
