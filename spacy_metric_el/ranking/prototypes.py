"""Prototypes: means of clusters of training mentions, and how near a mention is to them.

An entity is what its mentions have in common in context; a name row cannot tell two
concepts of the same name apart, a prototype can (after Le & Nguyen 2023, where an
entity and all of its mentions are one unit).
"""

from typing import NamedTuple

import numpy as np

from ..geometry import row_cosines
from ..segments import offsets_of_lengths, places_of, segment_max, segment_sum, spread
from .counts import PairCounts, count_pairs

PROTOTYPE_FEATURES = ("nearest_prototype", "mean_prototype", "has_prototype")

COMPARED = 16_384
"""Pairs that are compared together, which bounds the memory that their vectors take."""


class Prototypes(NamedTuple):
    """Clusters of mentions, in the order of their entities.

    sums (np.ndarray): (c, width) float32, the sum of each cluster's unit vectors.
    sizes (np.ndarray): (c,) float32, mentions in each cluster.
    entities (np.ndarray): (c,) int64, sorted.
    """

    sums: np.ndarray
    sizes: np.ndarray
    entities: np.ndarray


class OwnMentions(NamedTuple):
    """What the documents of training mentions contributed themselves to clusters.

    documents (np.ndarray): (n,) int64, the document of each mention that is judged.
    clusters (PairCounts): Mentions of a document in a cluster.
    sums (np.ndarray): (k, width) float32, their vectors' sum, for each key of `clusters`.
    """

    documents: np.ndarray
    clusters: PairCounts
    sums: np.ndarray


def make_prototypes(
    vectors: np.ndarray, entities: np.ndarray, *, radius: float, max_per_entity: int
) -> tuple[Prototypes, np.ndarray]:
    """Cover the mentions of each entity with clusters.

    vectors (np.ndarray): (m, width) float32 unit vectors of mentions.
    entities (np.ndarray): (m,) int, the entity of each.
    radius (float): Of the clusters, Euclidean: 0 to 2. It decides how many an entity gets.
    max_per_entity (int): At most so many.
    RETURNS (tuple[Prototypes, np.ndarray]): The clusters, and that of each mention, (m,) int64.
    """
    order = np.argsort(entities, kind="stable")
    found, starts = np.unique(entities[order], return_index=True)
    labels = np.zeros(len(entities), dtype=np.int64)
    owners: list[int] = []
    for entity, members in zip(found, np.split(order, starts)[1:], strict=True):
        own = cover_with_clusters(vectors[members], radius, max_per_entity)
        labels[members] = len(owners) + own
        owners += [int(entity)] * (int(own.max()) + 1)
    sums = np.zeros((len(owners), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, labels, vectors)
    sizes = np.bincount(labels, minlength=len(owners)).astype(np.float32)
    return Prototypes(sums, sizes, np.asarray(owners, dtype=np.int64)), labels


def cover_with_clusters(vectors: np.ndarray, radius: float, max_clusters: int) -> np.ndarray:
    """Cover the mentions of one entity with clusters, the most central first.

    The mention nearest to the mean of those left is the anchor of the next cluster,
    and all left within the radius join it. Once there are `max_clusters`, the rest
    goes to the nearest anchor.

    vectors (np.ndarray): (n, width) float32.
    radius (float): Euclidean.
    max_clusters (int): 1 or more.
    RETURNS (np.ndarray): (n,) int64, the cluster of each mention, 0 .. C - 1.
    """
    labels = np.full(len(vectors), -1, dtype=np.int64)
    left = np.arange(len(vectors))
    anchors: list[int] = []
    while len(left) and len(anchors) < max_clusters:
        mean = vectors[left].mean(axis=0)
        anchor = int(left[np.argmin(np.linalg.norm(vectors[left] - mean, axis=1))])
        inside = np.linalg.norm(vectors[left] - vectors[anchor], axis=1) <= radius
        labels[left[inside]] = len(anchors)
        anchors.append(anchor)
        left = left[~inside]
    if len(left):
        gaps = np.linalg.norm(vectors[left, None] - vectors[None, anchors], axis=2)
        labels[left] = gaps.argmin(axis=1)
    return labels


def own_mentions(
    judged: np.ndarray, documents: np.ndarray, clusters: np.ndarray, vectors: np.ndarray, n: int
) -> OwnMentions:
    """Note what each document contributed to each cluster.

    judged (np.ndarray): (n,) int, documents of the mentions that are to be judged.
    documents (np.ndarray): (m,) int, documents of the mentions that made the clusters.
    clusters (np.ndarray): (m,) int, their clusters.
    vectors (np.ndarray): (m, width) float32, their unit vectors.
    n (int): Number of clusters.
    RETURNS (OwnMentions): The contributions.
    """
    counts = count_pairs(documents, clusters, max(n, 1))
    places, _ = counts.places(documents, clusters)
    sums = np.zeros((len(counts.keys), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, places, vectors)
    return OwnMentions(judged, counts, sums)


def compare_prototypes(
    vectors: np.ndarray,
    mentions: np.ndarray,
    entities: np.ndarray,
    prototypes: Prototypes,
    own: OwnMentions | None = None,
) -> np.ndarray:
    """Compare mentions with the prototypes of their candidates.

    vectors (np.ndarray): (n, width) float32 unit vectors of mentions.
    mentions (np.ndarray): (p,) int, the mention of each pair.
    entities (np.ndarray): (p,) int, the candidate of each pair.
    prototypes (Prototypes): Those there are.
    own (OwnMentions | None): For training mentions: what to leave out.
    RETURNS (np.ndarray): (p, 3) float32, see `PROTOTYPE_FEATURES`: the cosine to the
        nearest prototype, to the mean of all mentions, and whether there is any.
    """
    out = np.zeros((len(entities), len(PROTOTYPE_FEATURES)), dtype=np.float32)
    for start in range(0, len(out), COMPARED):
        part = slice(start, start + COMPARED)
        out[part] = _compare(vectors, mentions[part], entities[part], prototypes, own)
    return out


def _compare(
    vectors: np.ndarray,
    mentions: np.ndarray,
    entities: np.ndarray,
    prototypes: Prototypes,
    own: OwnMentions | None,
) -> np.ndarray:
    out = np.zeros((len(entities), len(PROTOTYPE_FEATURES)), dtype=np.float32)
    starts = np.searchsorted(prototypes.entities, entities, side="left")
    lengths = np.searchsorted(prototypes.entities, entities, side="right") - starts
    # Most candidates have none.
    having = np.flatnonzero(lengths)
    owners, clusters = spread(starts[having], lengths[having])
    if not len(owners):
        return out
    sums, sizes = prototypes.sums[clusters], prototypes.sizes[clusters]
    mentions = mentions[having]
    if own is not None:
        # A cluster that the mention's own document helped to make would give the answer away.
        documents = own.documents[mentions[owners]]
        places, found = own.clusters.places(documents, clusters)
        sums[found] -= own.sums[places[found]]
        sizes = sizes - own.clusters.of(documents, clusters)
    offsets = offsets_of_lengths(lengths[having])
    # Sizes are whole numbers in floats: 0 for a cluster of the own document alone.
    alive = sizes > 0.5
    sums[~alive] = 0.0
    cosines = np.where(alive, row_cosines(vectors[mentions[owners]], sums), -1.0)
    cosines = cosines.astype(np.float32)
    any_alive = segment_max(alive, offsets, False)
    # Of an entity with one cluster that cosine is the one to the mean of all its mentions; only
    # those with several need their sums added up.
    means = cosines[offsets[:-1]] * alive[offsets[:-1]]
    several = np.flatnonzero(lengths[having] > 1)
    sizes_of_several = lengths[having][several]
    places = places_of(offsets[several], sizes_of_several)
    whole = segment_sum(sums[places], offsets_of_lengths(sizes_of_several))
    means[several] = row_cosines(vectors[mentions[several]], whole)
    out[having, 0] = segment_max(cosines, offsets, -1.0) * any_alive
    out[having, 1] = means * any_alive
    out[having, 2] = any_alive
    return out
