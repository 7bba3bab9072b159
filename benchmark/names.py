"""The names of a knowledge base as plain arrays, and concepts ranked by their best name."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.segments import owners_of_lengths

Candidates = tuple[tuple[str, float], ...]
"""Concept ids and scores, best first."""


class NameTable(NamedTuple):
    """Every name of a knowledge base, those of training mentions too.

    keys (list[str]): (names,) in their normal form.
    texts (list[str]): (names,) as written.
    concepts (list[str]): (concepts,) ids, sorted.
    offsets (np.ndarray): (names + 1,); the links of name i are offsets[i]:offsets[i + 1].
    entities (np.ndarray): (links,) places in `concepts`.
    counts (np.ndarray): (links,) how often training linked the name so.
    """

    keys: list[str]
    texts: list[str]
    concepts: list[str]
    offsets: np.ndarray
    entities: np.ndarray
    counts: np.ndarray

    def names_of_concepts(self) -> Iterator[list[int]]:
        """YIELDS (list[int]): The names of each concept in turn, by their normal form."""
        owners = owners_of_lengths(np.diff(self.offsets))
        order = np.argsort(self.entities, kind="stable")
        ends = np.cumsum(np.bincount(self.entities, minlength=len(self.concepts)))
        for names in np.split(owners[order], ends[:-1]):
            yield sorted(names.tolist(), key=self.keys.__getitem__)


def read_names(kb: FaissKnowledgeBase) -> NameTable:
    """RETURNS (NameTable): The names of a knowledge base."""
    records = kb.records
    return NameTable(
        records.names["key"].to_pylist(),
        records.name_texts(),
        records.entities["concept_id"].to_pylist(),
        records.name_offsets,
        records.name_entities,
        records.name_counts,
    )


def rank_concepts(
    similarities: Sequence[float] | np.ndarray,
    rows: Sequence[int] | np.ndarray,
    names: NameTable,
    *,
    top_k: int,
) -> Candidates:
    """Rank the concepts of the nearest names of one mention.

    similarities (Sequence[float]): (k,) of each name.
    rows (Sequence[int]): (k,) the names; -1 for none.
    names (NameTable): The names.
    top_k (int): Concepts to return.
    RETURNS (Candidates): Each concept with its best name's similarity. Those of one
        similarity come by how often training linked that name to them, then by id.
    """
    best: dict[int, tuple[float, int]] = {}
    for similarity, row in zip(similarities, rows, strict=True):
        if row >= 0:
            for link in range(names.offsets[row], names.offsets[row + 1]):
                entity = int(names.entities[link])
                found = (float(similarity), int(names.counts[link]))
                best[entity] = max(best.get(entity, found), found)
    ranked = sorted(best, key=lambda entity: (-best[entity][0], -best[entity][1], entity))
    return tuple((names.concepts[entity], best[entity][0]) for entity in ranked[:top_k])
