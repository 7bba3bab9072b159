"""Which names go into a step: positives of the gold entities, and hard negatives."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..encoding.linker_encoder import LinkerEncoder
from ..kb.records import Records
from ..text import normalise_name

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase

MINED_ROWS = 32
"""Nearest names that the negatives of a mention's text are drawn from."""


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
    _, bearers = records.bearers_of(names)
    return np.unique(np.append(bearers, np.int32(entity)))


def make_pool(records: Records, entities: np.ndarray, names: np.ndarray) -> NamePool:
    """Say of each name which gold entities bear it, and for which it is a safe negative.

    A name is safe for an entity if none of its bearers is that entity, nor shares
    any name with it: such a bearer may be right as well, in another annotator's eyes.

    records (Records): The vocabulary.
    entities (np.ndarray): (E,) distinct gold entities.
    names (np.ndarray): (m,) distinct names.
    RETURNS (NamePool): With masks of shape (E, m).
    """
    owners, bearers = records.bearers_of(names)
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


class NameSampler:
    """Draws the names of a step: positives of the gold entities, and mined negatives.

    Negatives are mined among the knowledge base's own rows, by the surface of a mention's
    text. The rows are those of the weights at the start: which names look alike hardly
    changes, and training does not depend on when it is evaluated. How hard each name is, the
    loss sees from its present vector.

    encoder (LinkerEncoder): Initialized; encodes the names here, if nobody has before.
    kb (FaissKnowledgeBase): The vocabulary.
    seed (int): Of the draws.
    """

    def __init__(self, encoder: LinkerEncoder, kb: "FaissKnowledgeBase", *, seed: int) -> None:
        self.encoder = encoder
        self.kb = kb
        self.rng = np.random.default_rng(seed)
        self._rows = encoder.vectors_of(kb)
        # Each text is looked up once.
        self._mined: dict[str, np.ndarray] = {}

    def mine(self, texts: Sequence[str]) -> list[np.ndarray]:
        """RETURNS (list[np.ndarray]): For each text the nearest names, (k,) int64, nearest first."""
        keys = [normalise_name(text) for text in texts]
        missing = sorted({key for key in keys if key not in self._mined})
        if missing:
            queries = self.encoder.names.encode_surfaces(missing)
            _, rows = self._rows.search(queries, MINED_ROWS, texts=missing)
            self._mined.update(
                (key, self._rows.names[found[found >= 0]].astype(np.int64))
                for key, found in zip(missing, rows, strict=True)
            )
        return [self._mined[key] for key in keys]

    def draw(
        self, texts: Sequence[str], entities: np.ndarray, *, positives: int, negatives: int
    ) -> np.ndarray:
        """Draw the names of a step.

        texts (Sequence[str]): (n,) texts of the mentions.
        entities (np.ndarray): (n,) their gold entities.
        positives (int): Names of each entity.
        negatives (int): Mined names of other entities, for each entity.
        RETURNS (np.ndarray): (m,) int64, distinct names.
        """
        distinct, first = np.unique(entities, return_index=True)
        drawn = [sample_names(self.kb.records, distinct, positives, self.rng)]
        for names, entity in zip(self.mine([texts[i] for i in first]), distinct, strict=True):
            foreign = names[~self._bears(names, int(entity))]
            # The nearest matter most, but not the same ones at every step.
            take = min(negatives, len(foreign))
            nearest = foreign[: 2 * take]
            drawn.append(self.rng.choice(nearest, take, replace=False) if take else nearest)
        return np.unique(np.concatenate(drawn)).astype(np.int64)

    def confusable(
        self, texts: Sequence[str], gold: Sequence[Sequence[int]], limit: int
    ) -> list[np.ndarray]:
        """List the entities that mentions could be taken for, by their texts.

        texts (Sequence[str]): (n,) texts of the mentions.
        gold (Sequence[Sequence[int]]): (n,) their gold entities.
        limit (int): Other entities of each, at most.
        RETURNS (list[np.ndarray]): For each mention (k,) int64: its gold entities, and then
            those that bear the nearest names, nearest first.
        """
        found = []
        for names, own in zip(self.mine(texts), gold, strict=True):
            _, bearers = self.kb.records.bearers_of(names)
            _, first = np.unique(bearers, return_index=True)
            others = bearers[np.sort(first)]
            others = others[~np.isin(others, own)][:limit]
            found.append(np.concatenate((np.asarray(own, dtype=np.int64), others)))
        return found

    def _bears(self, names: np.ndarray, entity: int) -> np.ndarray:
        start, end = self.kb.records.entity_offsets[entity : entity + 2]
        return np.isin(names, self.kb.records.entity_names[start:end])
