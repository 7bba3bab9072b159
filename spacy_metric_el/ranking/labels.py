"""Whether the label of a mention goes with a candidate."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .counts import count_pairs


class EntityLabels(NamedTuple):
    """The label that each entity has, as far as training mentions tell.

    labels (list[str]): The l labels, sorted.
    of_entity (np.ndarray): (n_entities,) int32, a number of `labels`; -1 if not known.
    """

    labels: list[str]
    of_entity: np.ndarray


def learn_labels(entities: np.ndarray, labels: Sequence[str], n_entities: int) -> EntityLabels:
    """Give each entity the label that most of its mentions have.

    entities (np.ndarray): (m,) int, of the training mentions.
    labels (Sequence[str]): (m,) their labels; empty ones say nothing.
    n_entities (int): Entities of the vocabulary.
    RETURNS (EntityLabels): Ties go to the label that sorts first.
    """
    known = sorted({label for label in labels if label})
    of_entity = np.full(n_entities, -1, dtype=np.int32)
    if known:
        numbers = {label: number for number, label in enumerate(known)}
        pairs = [(e, numbers[label]) for e, label in zip(entities, labels, strict=True) if label]
        owners, places = np.asarray(pairs, dtype=np.int64).T
        counts = count_pairs(owners, places, len(known))
        # The last one written stays: the most frequent, of equals the first.
        order = np.lexsort((-counts.keys, counts.counts))
        of_entity[counts.keys[order] // len(known)] = counts.keys[order] % len(known)
    return EntityLabels(known, of_entity)


def label_agreement(
    mention_labels: Sequence[str], mentions: np.ndarray, entities: np.ndarray, known: EntityLabels
) -> np.ndarray:
    """Compare the labels of mentions with those of their candidates.

    mention_labels (Sequence[str]): (n,) labels of the mentions.
    mentions (np.ndarray): (p,) int, the mention of each pair.
    entities (np.ndarray): (p,) int, the candidate of each pair.
    known (EntityLabels): The labels of entities.
    RETURNS (np.ndarray): (p,) float32: 1 for the same label, -1 for another, 0 if
        either is not known.
    """
    numbers = {label: number for number, label in enumerate(known.labels)}
    mine = np.asarray([numbers.get(label, -1) for label in mention_labels], dtype=np.int32)
    mine, theirs = mine[mentions], known.of_entity[entities]
    agreement = np.where(mine == theirs, 1.0, -1.0)
    return np.where((mine < 0) | (theirs < 0), 0.0, agreement).astype(np.float32)
