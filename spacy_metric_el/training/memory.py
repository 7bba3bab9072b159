"""A memory of the training mentions, and a loss that tells entities apart by context.

A batch holds few mentions of an entity. The memory keeps the last vector of every
training mention, so that each one can be held against clusters that reach across all
documents (cross-batch memory: Wang et al. 2020, arXiv:1912.06798).
"""

from typing import NamedTuple

import numpy as np

from ..geometry import row_products, unit_rows
from ..segments import owners_of_lengths, segment_softmax, segment_sum

NOTHING = np.float32(-1e9)
"""The logit of "none of them", which is no choice here."""


class Contrast(NamedTuple):
    """Pairs of a mention and the prototype of an entity, in runs: a run a mention.

    offsets (np.ndarray): (n + 1,) int, where each mention's run starts and ends.
    prototypes (np.ndarray): (p, width) float32 unit vectors.
    is_right (np.ndarray): (p,) bool, whether the entity is a gold one.
    """

    offsets: np.ndarray
    prototypes: np.ndarray
    is_right: np.ndarray


class MentionMemory:
    """The last vectors of training mentions, summed up by entity.

    Documents are known by a key; what one of them contributes is left out where its
    own mentions are compared.

    width (int): Of the vectors.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._places: dict[int, int] = {}
        self._sums = np.zeros((1024, width), dtype=np.float32)
        self._sizes = np.zeros(1024, dtype=np.float32)
        self._documents: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def put(self, document: int, entities: np.ndarray, vectors: np.ndarray) -> None:
        """Remember the mentions of a document, in place of what was known of it.

        document (int): Its key.
        entities (np.ndarray): (m,) int, the gold entities.
        vectors (np.ndarray): (m, width) float32 unit vectors.
        """
        if document in self._documents:
            self._add(*self._documents[document], sign=-1.0)
        kept = (np.array(entities, dtype=np.int64), np.array(vectors, dtype=np.float32))
        self._documents[document] = kept
        self._add(*kept, sign=1.0)

    def prototypes(self, document: int, entities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum entities up, as the other documents have them.

        document (int): The key of the document that is left out.
        entities (np.ndarray): (k,) int.
        RETURNS (tuple[np.ndarray, np.ndarray]): (k, width) float32 unit vectors, zeros
            for an entity that no other document mentions, and (k,) bool, whether one does.
        """
        places = np.asarray([self._places.get(int(entity), -1) for entity in entities], dtype=int)
        known = places >= 0
        sums = np.where(known[:, None], self._sums[places], 0.0)
        sizes = np.where(known, self._sizes[places], 0.0)
        if document in self._documents:
            own, vectors = self._documents[document]
            is_own = (np.asarray(entities)[:, None] == own[None]).astype(np.float32)
            sums = sums - is_own @ vectors
            sizes = sizes - is_own.sum(axis=1)
        alive = sizes > 0.5
        return unit_rows(np.where(alive[:, None], sums, np.float32(0.0))), alive

    def _add(self, entities: np.ndarray, vectors: np.ndarray, *, sign: float) -> None:
        places = np.asarray(
            [self._places.setdefault(entity, len(self._places)) for entity in entities.tolist()],
            dtype=int,
        )
        if len(self._places) > len(self._sizes):
            more = max(len(self._places) - len(self._sizes), len(self._sizes))
            self._sums = np.concatenate((self._sums, np.zeros((more, self.width), np.float32)))
            self._sizes = np.concatenate((self._sizes, np.zeros(more, np.float32)))
        np.add.at(self._sums, places, np.float32(sign) * vectors)
        np.add.at(self._sizes, places, np.float32(sign))


def contrast_loss(
    mentions: np.ndarray, contrast: Contrast, *, scale: float
) -> tuple[float, np.ndarray]:
    """Compute the negative log-likelihood of the right prototypes, in a softmax over each run.

    Mentions without a right prototype, or without a wrong one, are left out.
    Source: InfoNCE (van den Oord et al. 2018, arXiv:1807.03748), against prototypes.

    mentions (np.ndarray): (n, width) float32 unit vectors.
    contrast (Contrast): What they are held against.
    scale (float): Of the cosines: the inverse of a temperature.
    RETURNS (tuple[float, np.ndarray]): The mean loss in nats, and its gradient with
        respect to the mentions, (n, width) float32. The prototypes are constants.
    """
    offsets, prototypes, is_right = contrast
    lengths = np.diff(offsets)
    owners = owners_of_lengths(lengths)
    n_right = segment_sum(is_right.astype(np.float32), offsets)
    used = (n_right > 0) & (n_right < lengths)
    gradient = np.zeros_like(mentions, dtype=np.float32)
    if not used.any():
        return 0.0, gradient
    logits = scale * row_products(mentions[owners], prototypes)
    p = segment_softmax(logits, offsets, np.full(len(lengths), NOTHING))
    right = segment_sum(np.where(is_right, p, 0.0), offsets)
    share = np.where(is_right, p, 0.0) / np.maximum(right[owners], 1e-12)
    d_logits = np.where(used[owners], p - share, 0.0) / used.sum()
    np.add.at(gradient, owners, (scale * d_logits)[:, None] * prototypes)
    loss = -np.log(np.maximum(right[used], 1e-12)).mean()
    return float(loss), gradient
