"""From nearest rows to ranked entities: pure functions over arrays."""

from typing import NamedTuple

import numpy as np

NAME_ROW, ENTITY_ROW = 0, 1
"""Kinds of row: a name, an entity as a whole."""


class RowTargets(NamedTuple):
    """What each row of an index stands for.

    kinds (np.ndarray): (n_rows,) uint8, `NAME_ROW` or `ENTITY_ROW`.
    refs (np.ndarray): (n_rows,) int32: a name for name rows, else an entity.
    name_offsets (np.ndarray): (n_names + 1,) int64, links of each name.
    name_entities (np.ndarray): (n_links,) int32, the entity of each link.
    name_log_priors (np.ndarray): (n_links,) float32, log p(entity | name).
    """

    kinds: np.ndarray
    refs: np.ndarray
    name_offsets: np.ndarray
    name_entities: np.ndarray
    name_log_priors: np.ndarray


def expand_rows(rows: np.ndarray, targets: RowTargets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the entities that rows stand for.

    rows (np.ndarray): (n,) int64, each a row of the index.
    targets (RowTargets): What the rows stand for.
    RETURNS: For each pair of a row and an entity the position in `rows`, (m,) int64,
        the entity, (m,) int32, and log p(entity | row), (m,) float32, 0 for rows
        that stand for one entity.
    """
    refs = targets.refs[rows].astype(np.int64)
    is_name = targets.kinds[rows] == NAME_ROW
    safe_refs = np.where(is_name, refs, 0)
    starts = targets.name_offsets[safe_refs]
    lengths = np.where(is_name, targets.name_offsets[safe_refs + 1] - starts, 1)
    positions = np.repeat(np.arange(len(rows)), lengths)
    within = np.arange(len(positions)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    links = np.where(is_name[positions], starts[positions] + within, 0)
    named = is_name[positions]
    entities = np.where(named, targets.name_entities[links], refs[positions]).astype(np.int32)
    log_priors = np.where(named, targets.name_log_priors[links], 0.0).astype(np.float32)
    return positions, entities, log_priors


def rank_entities(
    similarities: np.ndarray,
    rows: np.ndarray,
    targets: RowTargets,
    *,
    prior_weight: float,
    top_k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Score each entity by its best row, and sort.

    score = max(similarity, 0) * p(entity | name) ** prior_weight

    Ties are broken by the entity's record, that is by concept id.

    similarities (np.ndarray): (n, k) float32.
    rows (np.ndarray): (n, k) int64, -1 for none.
    targets (RowTargets): What the rows stand for.
    prior_weight (float): Weight of the log prior, at least 0.
    top_k (int): Entities for each query.
    RETURNS (tuple[np.ndarray, np.ndarray]): Entities, (n, top_k) int32, best first,
        -1 for none, and their scores, (n, top_k) float32, between 0 and 1.
    """
    n_queries = len(rows)
    entities = np.full((n_queries, top_k), -1, dtype=np.int32)
    scores = np.zeros((n_queries, top_k), dtype=np.float32)
    query_ids, columns = np.nonzero(rows >= 0)
    if not len(query_ids):
        return entities, scores
    positions, found, log_priors = expand_rows(rows[query_ids, columns], targets)
    queries = query_ids[positions]
    similarity = np.clip(similarities[query_ids, columns][positions], 0.0, 1.0)
    score = similarity * np.exp(prior_weight * log_priors)
    order = np.lexsort((-score, found, queries))
    queries, found, score = queries[order], found[order], score[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (queries[1:] != queries[:-1]) | (found[1:] != found[:-1])
    queries, found, score = queries[first], found[first], score[first]
    order = np.lexsort((found, -score, queries))
    queries, found, score = queries[order], found[order], score[order]
    rank = np.arange(len(queries)) - np.searchsorted(queries, queries, side="left")
    kept = rank < top_k
    entities[queries[kept], rank[kept]] = found[kept]
    scores[queries[kept], rank[kept]] = score[kept]
    return entities, scores
