"""One training step: which names go with a batch's mentions, and the gradients of both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from spacy.training import Example
from thinc.api import Model, Optimizer
from thinc.types import Floats2d

from ..corpus.gold import gold_mentions
from ..encoding.name_docs import NameText
from ..encoding.upstream import find_listener, release
from ..kb.index.faiss_index import build_index, search_index
from ..kb.records import Records, stable_hash
from ..model.encoder import encoder_input
from ..model.pooling import unit_rows
from ..segments import spread
from ..text import normalise_name
from .losses import LinkingBatch
from .memory import Contrast, MentionMemory, contrast_loss
from .name_sampler import leave_own_name_out, make_pool, sample_names

if TYPE_CHECKING:
    from ..pipeline.linker import MetricEntityLinker

CONFUSABLE = 16
"""Other entities that a mention's context is held against."""

MINED_ROWS = 32
"""Nearest names that the negatives of a mention's text are drawn from."""


class TrainingNames:
    """Draws the names of a step: positives of the gold entities, and mined negatives.

    Negatives are mined by the surface channel, whose index over all names is made
    in seconds; how hard each one is, the loss sees from its present vector.

    records (Records): The vocabulary.
    context_width (int): Width of the context channel.
    seed (int): Draws.
    """

    def __init__(self, records: Records, context_width: int, *, seed: int) -> None:
        self.records = records
        self.memory = MentionMemory(context_width)
        self.rng = np.random.default_rng(seed)
        self._mined: dict[str, np.ndarray] = {}

    def refresh(self, model: Model) -> None:
        """Embed all names again.

        model (Model): The metric encoder.
        """
        self._surface = model.get_ref("head").get_ref("surface")
        names = self.records.name_texts()
        vectors = np.zeros((len(names), self._surface.get_dim("nO")), dtype=np.float32)
        for start in range(0, len(names), 20_000):
            vectors[start : start + 20_000] = self._embed(names[start : start + 20_000])
        self._index = build_index(vectors)
        self._mined.clear()

    def mine(self, texts: Sequence[str]) -> list[np.ndarray]:
        """RETURNS (list[np.ndarray]): For each text the nearest names, (k,) int64, nearest first."""
        keys = [normalise_name(text) for text in texts]
        missing = sorted({key for key in keys if key not in self._mined})
        if missing:
            _, rows = search_index(self._index, self._embed(missing), MINED_ROWS)
            self._mined.update(
                (key, found[found >= 0]) for key, found in zip(missing, rows, strict=True)
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
        drawn = [sample_names(self.records, distinct, positives, self.rng)]
        for rows, entity in zip(self.mine([texts[i] for i in first]), distinct, strict=True):
            foreign = rows[~self._bears(rows, int(entity))]
            # The nearest matter most, but not the same ones at every step.
            take = min(negatives, len(foreign))
            nearest = foreign[: 2 * take]
            drawn.append(self.rng.choice(nearest, take, replace=False) if take else nearest)
        return np.unique(np.concatenate(drawn)).astype(np.int64)

    def confusable(self, text: str, gold: Sequence[int], limit: int) -> np.ndarray:
        """List the entities that a mention could be taken for, by its text.

        text (str): The mention.
        gold (Sequence[int]): Its gold entities.
        limit (int): Other entities, at most.
        RETURNS (np.ndarray): (k,) int64: the gold entities, and then those that bear
            the nearest names, nearest first.
        """
        offsets = self.records.name_offsets
        (rows,) = self.mine([text])
        _, links = spread(offsets[rows], offsets[rows + 1] - offsets[rows])
        bearers = self.records.name_entities[links]
        _, first = np.unique(bearers, return_index=True)
        others = bearers[np.sort(first)]
        others = others[~np.isin(others, gold)][:limit]
        return np.concatenate((np.asarray(gold, dtype=np.int64), others))

    def _bears(self, names: np.ndarray, entity: int) -> np.ndarray:
        start, end = self.records.entity_offsets[entity : entity + 2]
        return np.isin(names, self.records.entity_names[start:end])

    def _embed(self, texts: list[str]) -> np.ndarray:
        ops = self._surface.ops
        return ops.to_numpy(unit_rows(ops, self._surface.predict(texts))[0])


def make_training_names(linker: "MetricEntityLinker") -> TrainingNames:
    """RETURNS (TrainingNames): Those of a linker's knowledge base, with an index of the present weights."""
    names = TrainingNames(linker.kb.records, linker.context_width, seed=linker.cfg["seed"])
    names.refresh(linker.model)
    return names


@contextmanager
def scaled_learn_rate(sgd: Optimizer, factor: float) -> Iterator[None]:
    """Let an optimizer take longer or shorter steps for a while.

    sgd (Optimizer): Gets its own learning rate back.
    factor (float): Of the learning rate.
    """
    learn_rate = sgd.learn_rate
    sgd.learn_rate = learn_rate * factor
    try:
        yield
    finally:
        sgd.learn_rate = learn_rate


def step_gradients(
    linker: "MetricEntityLinker", examples: Sequence[Example], names: TrainingNames
) -> float:
    """Run a batch forward and back; the gradients are added to those of the layers.

    linker (MetricEntityLinker): With an initialized model and a loss.
    examples (Sequence[Example]): All of the batch, in order: the listener compares them.
    names (TrainingNames): Draws names.
    RETURNS (float): The loss; 0 for a batch without mentions to learn from.
    """
    cfg, ops, records = linker.cfg, linker.model.ops, names.records
    spans: list[tuple[int, int, int]] = []
    known: list[list[int]] = []
    for i, example in enumerate(examples):
        for mention in gold_mentions(example, nil=cfg["nil"]):
            concepts = records.entity_indices(mention.concept_ids)
            if concepts and mention.label not in cfg["labels_discard"]:
                spans.append((i, mention.start, mention.end))
                known.append(concepts)
    X = encoder_input([example.predicted for example in examples], spans)
    vectors, backprop = linker.encoder.mentions.begin_update(X)
    if not spans:
        backprop(ops.alloc2f(0, linker.model.get_dim("nO")))
        _release(linker.model)
        return 0.0
    # Names first: the last backward pass of the mentions lets the upstream finish.
    loss, d_mentions = _name_step(linker, names, vectors, X.texts, known)
    if cfg["memory_weight"]:
        keys = [stable_hash(example.reference.text) for example in examples]
        documents = [keys[i] for i, _, _ in spans]
        extra, d_context = _context_step(
            linker, names, ops.to_numpy(vectors), X.texts, documents, known
        )
        loss += extra
        d_mentions = d_mentions + ops.xp.asarray(d_context)
    backprop(d_mentions)
    _release(linker.model)
    return loss


def synonym_gradients(
    linker: "MetricEntityLinker",
    texts: Sequence[str],
    known: Sequence[Sequence[int]],
    names: TrainingNames,
) -> float:
    """Run names forward and back as if they were mentions, without any document around them.

    linker (MetricEntityLinker): Whose names have no context channel (`name_context`).
    texts (Sequence[str]): (n,) names.
    known (Sequence[Sequence[int]]): (n,) the entities that each is to be near to.
    names (TrainingNames): Draws the names that they are compared with.
    RETURNS (float): The loss.
    """
    vectors, backprop = linker.encoder.names.begin_update([NameText(text) for text in texts])
    loss, d_vectors = _name_step(linker, names, vectors, texts, known)
    backprop(d_vectors)
    return loss


def _name_step(
    linker: "MetricEntityLinker",
    names: TrainingNames,
    vectors: Floats2d,
    texts: Sequence[str],
    known: Sequence[Sequence[int]],
) -> tuple[float, Floats2d]:
    """Hold mentions against names, and send the gradient of the names back.

    RETURNS (tuple[float, Floats2d]): The loss, and its gradient with respect to the mentions.
    """
    cfg, records = linker.cfg, names.records
    entities = np.asarray([concepts[0] for concepts in known], dtype=np.int64)
    drawn = names.draw(
        texts,
        entities,
        positives=cfg["names_per_entity"],
        negatives=cfg["negatives_per_entity"],
    )
    name_texts = [NameText(name) for name in records.names["name"].take(drawn).to_pylist()]
    name_vectors, backprop_names = linker.encoder.names.begin_update(name_texts)
    distinct = np.unique(np.concatenate(known))
    pool = make_pool(records, distinct, drawn)
    # A mention of several concepts may go to any of them, and away from none.
    rows = [np.searchsorted(distinct, concepts) for concepts in known]
    is_positive = np.stack([pool.bears[row].any(axis=0) for row in rows])
    is_negative = np.stack([pool.is_safe[row].all(axis=0) for row in rows])
    own = np.asarray([records.name_index(text) for text in texts])
    is_positive = leave_own_name_out(is_positive, own, drawn)
    result = linker.loss(LinkingBatch(vectors, entities, name_vectors, is_positive, is_negative))
    backprop_names(result.d_names)
    return result.loss, result.d_mentions


def _context_step(
    linker: "MetricEntityLinker",
    names: TrainingNames,
    vectors: np.ndarray,
    texts: Sequence[str],
    documents: Sequence[int],
    known: Sequence[Sequence[int]],
) -> tuple[float, np.ndarray]:
    """Hold each mention's context against the prototypes of the entities it could be taken for.

    RETURNS (tuple[float, np.ndarray]): The weighted loss, and its gradient with respect
        to the whole vectors, (n, width) float32.
    """
    cfg, width = linker.cfg, linker.context_width
    lengths = np.maximum(np.linalg.norm(vectors[:, :width], axis=1, keepdims=True), 1e-6)
    context = vectors[:, :width] / lengths
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for text, document, gold in zip(texts, documents, known, strict=True):
        entities = names.confusable(text, gold, CONFUSABLE)
        prototypes, alive = names.memory.prototypes(document, entities)
        parts.append((prototypes[alive], np.isin(entities, gold)[alive]))
    offsets = np.cumsum([0, *(len(prototypes) for prototypes, _ in parts)])
    contrast = Contrast(offsets, *(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    loss, gradient = contrast_loss(context, contrast, scale=cfg["memory_scale"])
    owners = np.repeat(np.arange(len(known)), [len(gold) for gold in known])
    entities = np.concatenate([np.asarray(gold, dtype=np.int64) for gold in known])
    places = np.asarray(documents)[owners]
    for document in dict.fromkeys(documents):
        of_document = places == document
        names.memory.put(document, entities[of_document], context[owners[of_document]])
    # Through the scaling to unit length: what points along the vector is lost.
    gradient -= context * np.einsum("ij,ij->i", gradient, context)[:, None]
    out = np.zeros_like(vectors)
    out[:, :width] = cfg["memory_weight"] * gradient / lengths
    return cfg["memory_weight"] * loss, out


def _release(model: Model) -> None:
    listener = find_listener(model.get_ref("tok2vec"))
    if listener is not None:
        release(listener)
