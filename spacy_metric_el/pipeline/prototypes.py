"""Prototypes: rows that stand for how an entity is written in context, not for a name."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from spacy import util
from spacy.language import Language
from spacy.training import Example
from tqdm import tqdm

from ..errors import Errors, MetricELError
from ..learning.clusters import cover_with_clusters
from ..learning.gold import gold_mentions
from ..model.feeding import feed, feeding_pipes

if TYPE_CHECKING:
    from .linker import MetricEntityLinker

DOCS_PER_BATCH = 32


def add_prototypes(
    nlp: Language,
    linker: "MetricEntityLinker",
    examples: Iterable[Example],
    *,
    radius: float = 0.5,
    max_per_entity: int = 8,
    progress: bool = False,
) -> int:
    """Add prototypes of training mentions to the rows of a linker's knowledge base.

    The gold mentions of each entity are covered with clusters, and the mean of each
    cluster becomes a row. Calling it again adds further rows.

    nlp (Language): The pipeline that the linker stands in.
    linker (MetricEntityLinker): With a knowledge base.
    examples (Iterable[Example]): The training corpus, read as a stream.
    radius (float): Euclidean, between unit vectors: 0 to 2.
    max_per_entity (int): Largest number of prototypes of one entity.
    progress (bool): Whether to show a progress bar.
    RETURNS (int): How many prototypes were added.
    RAISES (MetricELError): E311 for a setting out of range, E001, E003.
    """
    if radius < 0 or max_per_entity < 1:
        raise MetricELError(Errors.E311.format(radius=radius, max_per_entity=max_per_entity))
    from ..kb.ranking import PROTOTYPE_ROW
    from ..kb.vectors import with_rows

    kb = linker.kb
    linker.refresh_vectors(progress=progress)
    vectors, entities = _encode_gold_mentions(nlp, linker, examples, progress=progress)
    if not len(entities):
        return 0
    rows, refs = make_prototypes(vectors, entities, radius=radius, max_per_entity=max_per_entity)
    kb.vectors = with_rows(kb.require_vectors(), rows, PROTOTYPE_ROW, refs)
    return len(refs)


def make_prototypes(
    vectors: np.ndarray, entities: np.ndarray, *, radius: float, max_per_entity: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the mentions of each entity up in a few vectors.

    vectors (np.ndarray): (n, width) float32 unit vectors of mentions.
    entities (np.ndarray): (n,) int, the entity of each mention.
    radius (float): Of the clusters, Euclidean.
    max_per_entity (int): Largest number of prototypes of one entity.
    RETURNS (tuple[np.ndarray, np.ndarray]): (m, width) float32 unit vectors, and the
        entity of each, (m,), in the order of entities.
    """
    order = np.argsort(entities, kind="stable")
    found, starts = np.unique(entities[order], return_index=True)
    rows: list[np.ndarray] = []
    refs: list[int] = []
    for entity, members in zip(found, np.split(order, starts[1:]), strict=True):
        labels = cover_with_clusters(vectors[members], radius, max_per_entity)
        for label in range(int(labels.max()) + 1):
            mean = vectors[members[labels == label]].mean(axis=0)
            length = np.linalg.norm(mean)
            # Mentions of opposite directions in one cluster have a mean without any.
            if length > 0:
                rows.append(mean / length)
                refs.append(int(entity))
    return np.asarray(rows, dtype=np.float32), np.asarray(refs, dtype=np.int32)


def _encode_gold_mentions(
    nlp: Language, linker: "MetricEntityLinker", examples: Iterable[Example], *, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): Vectors and entities, a row for each mention and entity."""
    pipes = feeding_pipes(nlp, linker.model)
    parts: list[np.ndarray] = []
    entities: list[int] = []
    with tqdm(desc="Encoding mentions", unit=" documents", disable=not progress) as bar:
        for batch in util.minibatch(examples, DOCS_PER_BATCH):
            spans, owners = _known_mentions(linker, batch)
            docs = feed(pipes, [example.predicted for example in batch])
            if spans:
                vectors = linker.encode_spans(docs, spans)
                parts.append(vectors[[span for span, _ in owners]])
                entities.extend(entity for _, entity in owners)
            bar.update(len(batch))
    width = linker.model.get_dim("nO")
    vectors = np.concatenate(parts) if parts else np.zeros((0, width), dtype=np.float32)
    return vectors, np.asarray(entities, dtype=np.int64)


def _known_mentions(
    linker: "MetricEntityLinker", examples: Sequence[Example]
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """RETURNS: Spans of the gold mentions, and for each of their concepts that the
    knowledge base has the place in the list of spans and the entity."""
    spans: list[tuple[int, int, int]] = []
    owners: list[tuple[int, int]] = []
    for i, example in enumerate(examples):
        for mention in gold_mentions(example, nil=linker.cfg["nil"]):
            known = linker.kb.records.entity_indices(mention.concept_ids)
            if known:
                owners.extend((len(spans), record) for record in known)
                spans.append((i, mention.start, mention.end))
    return spans, owners
