"""Which names go into a step: positives of the gold entities, and hard negatives."""

from typing import NamedTuple

import numpy as np

from ..kb.records import Records


class NamePool(NamedTuple):
    """The names of one step.

    names (np.ndarray): (m,) int, records of distinct names.
    bears (np.ndarray): (E, m) bool, whether an entity bears a name.
    is_safe (np.ndarray): (E, m) bool, whether a name is a safe negative of an entity.
    """

    names: np.ndarray
    bears: np.ndarray
    is_safe: np.ndarray


def sample_names(
    records: Records, entities: np.ndarray, per_entity: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw names of entities.

    records (Records): The vocabulary.
    entities (np.ndarray): (E,) distinct entities.
    per_entity (int): At most so many names of each.
    rng (np.random.Generator): Draws.
    RETURNS (np.ndarray): (m,) int64, records of distinct names, sorted.
    """
    drawn = []
    for entity in entities:
        start, end = records.entity_offsets[entity : entity + 2]
        names = records.entity_names[start:end]
        if len(names) > per_entity:
            names = rng.choice(names, per_entity, replace=False)
        drawn.append(names)
    names = np.concatenate(drawn) if drawn else np.zeros(0)
    return np.unique(names).astype(np.int64)


def entities_sharing_names(records: Records, entity: int) -> np.ndarray:
    """List the entities that a negative of an entity must not belong to.

    records (Records): The vocabulary.
    entity (int): The gold entity.
    RETURNS (np.ndarray): (k,) int32, sorted: the entity and all that share a name with it.
    """
    names = records.entity_names[
        records.entity_offsets[entity] : records.entity_offsets[entity + 1]
    ]
    offsets = records.name_offsets
    shared = [records.name_entities[offsets[name] : offsets[name + 1]] for name in names]
    return np.unique(np.concatenate([*shared, np.asarray([entity], dtype=np.int32)]))


def make_pool(records: Records, entities: np.ndarray, names: np.ndarray) -> NamePool:
    """Say of each name which gold entities bear it, and for which it is a safe negative.

    A name is safe for an entity if none of its bearers is that entity, nor shares
    any name with it: such a bearer may be right as well, in another annotator's eyes.

    records (Records): The vocabulary.
    entities (np.ndarray): (E,) distinct gold entities.
    names (np.ndarray): (m,) distinct names.
    RETURNS (NamePool): With masks of shape (E, m).
    """
    offsets = records.name_offsets
    lengths = offsets[names + 1] - offsets[names]
    owners = np.repeat(np.arange(len(names)), lengths)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    bearers = records.name_entities[np.repeat(offsets[names], lengths) + within]
    bears = np.zeros((len(entities), len(names)), dtype=bool)
    unsafe = np.zeros((len(entities), len(names)), dtype=bool)
    for row, entity in enumerate(entities):
        bears[row, owners[bearers == entity]] = True
        unsafe[row, owners[np.isin(bearers, entities_sharing_names(records, int(entity)))]] = True
    return NamePool(names, bears, ~unsafe)


def leave_own_name_out(
    is_positive: np.ndarray, own_names: np.ndarray, names: np.ndarray
) -> np.ndarray:
    """Forbid each mention its own string as a positive, where its entity has another name.

    A training mention's text is a name of its entity, and would be found by its
    surface alone; what has to be learned is to find it by the entity's other names.

    is_positive (np.ndarray): (n, m) bool.
    own_names (np.ndarray): (n,) int, the name that equals the mention's text, -1 for none.
    names (np.ndarray): (m,) int, the pool.
    RETURNS (np.ndarray): (n, m) bool.
    """
    others = is_positive & (own_names[:, None] != names[None])
    return np.where(others.any(axis=1, keepdims=True), others, is_positive)
