"""One training step: which names go with a batch's mentions, and the gradients of both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from spacy.training import Example
from thinc.api import Optimizer
from thinc.types import Floats2d

from ..corpus.gold import gold_mentions
from ..encoding.linker_encoder import LinkerEncoder
from ..geometry import scale_to_unit
from ..mentions import SpanRef
from ..model.encoder import encoder_input
from ..model.listeners import find_listener, release
from ..segments import offsets_of_lengths
from ..settings import LinkerSettings
from ..text import stable_hash
from .losses import LinkingBatch, LinkingLoss
from .memory import Contrast, MentionMemory, contrast_loss
from .name_sampler import NameSampler, leave_own_name_out, make_pool

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase

CONFUSABLE = 16
"""Other entities that a mention's context is held against."""


class TrainingStep:
    """Runs batches forward and back; what it remembers between them are mentions and mined names.

    encoder (LinkerEncoder): Initialized.
    loss (LinkingLoss): Compares mentions with names.
    kb (FaissKnowledgeBase): The vocabulary.
    seed (int): Of drawing names.
    """

    def __init__(
        self, encoder: LinkerEncoder, loss: LinkingLoss, kb: "FaissKnowledgeBase", *, seed: int
    ) -> None:
        self.encoder = encoder
        self.loss = loss
        self.kb = kb
        # A fresh encoder is fitted to the names here, not between two passes of a step.
        self.sampler = NameSampler(encoder, kb, seed=seed)
        self.memory = MentionMemory(encoder.context_width)

    def gradients(self, examples: Sequence[Example], settings: LinkerSettings) -> float:
        """Run a batch forward and back; the gradients are added to those of the layers.

        examples (Sequence[Example]): All of the batch, in order: the listener compares them.
        settings (LinkerSettings): Those of the linker.
        RETURNS (float): The loss; 0 for a batch without mentions to learn from.
        """
        model = self.encoder.model
        spans: list[SpanRef] = []
        known: list[list[int]] = []
        for i, example in enumerate(examples):
            for mention in gold_mentions(example, nil=settings.nil):
                concepts = self.kb.records.entity_indices(mention.concept_ids)
                if concepts and mention.label not in settings.labels_discard:
                    spans.append(SpanRef(i, mention.start, mention.end))
                    known.append(concepts)
        X = encoder_input([example.predicted for example in examples], spans)
        vectors, backprop = self.encoder.mentions.begin_update(X)
        loss = 0.0
        d_vectors = model.ops.alloc2f(len(spans), model.get_dim("nO"))
        if spans:
            # Names first: the last backward pass of the mentions lets the upstream finish.
            loss, d_vectors = self._hold_against_names(vectors, X.texts, known, settings)
            if settings.memory_weight:
                keys = [stable_hash(example.reference.text) for example in examples]
                documents = [keys[span.doc] for span in spans]
                context_loss, d_context = self._hold_against_prototypes(
                    vectors, X.texts, documents, known, settings.memory_scale
                )
                loss += settings.memory_weight * context_loss
                width = self.encoder.context_width
                d_vectors[:, :width] += settings.memory_weight * d_context
        backprop(d_vectors)
        listener = find_listener(model.get_ref("tok2vec"))
        if listener is not None:
            release(listener)
        return loss

    def _hold_against_names(
        self,
        vectors: Floats2d,
        texts: Sequence[str],
        known: Sequence[Sequence[int]],
        settings: LinkerSettings,
    ) -> tuple[float, Floats2d]:
        """Compare mentions with names, in the channels that names have, and send the gradient of the names back.

        RETURNS (tuple[float, Floats2d]): The loss, and its gradient with respect to the mentions.
        """
        records = self.kb.records
        entities = np.asarray([concepts[0] for concepts in known], dtype=np.int64)
        drawn = self.sampler.draw(
            texts,
            entities,
            positives=settings.names_per_entity,
            negatives=settings.negatives_per_entity,
        )
        names = records.names["name"].take(drawn).to_pylist()
        name_vectors, backprop_names = self.encoder.names.begin_update(names)
        distinct = np.unique(np.concatenate(known))
        pool = make_pool(records, distinct, drawn)
        # A mention of several concepts may go to any of them, and away from none.
        rows = [np.searchsorted(distinct, concepts) for concepts in known]
        is_positive = np.stack([pool.bears[row].any(axis=0) for row in rows])
        is_negative = np.stack([pool.is_safe[row].all(axis=0) for row in rows])
        own = np.asarray([records.name_index(text) for text in texts])
        is_positive = leave_own_name_out(is_positive, own, drawn)
        n_empty = self.encoder.names.n_empty
        mentions = vectors.copy()
        mentions[:, :n_empty] = 0.0
        result = self.loss(LinkingBatch(mentions, entities, name_vectors, is_positive, is_negative))
        backprop_names(result.d_names)
        result.d_mentions[:, :n_empty] = 0.0
        return result.loss, result.d_mentions

    def _hold_against_prototypes(
        self,
        vectors: Floats2d,
        texts: Sequence[str],
        documents: Sequence[int],
        known: Sequence[Sequence[int]],
        scale: float,
    ) -> tuple[float, Floats2d]:
        """Compare each mention's context with the prototypes of the entities it could be taken for.

        RETURNS (tuple[float, Floats2d]): The loss, and its gradient with respect to the
            context channel, (n, context width).
        """
        ops = self.encoder.model.ops
        units, backprop_units = scale_to_unit(vectors[:, : self.encoder.context_width])
        context = ops.to_numpy(units)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        rivals = self.sampler.confusable(texts, known, CONFUSABLE)
        for entities, document, gold in zip(rivals, documents, known, strict=True):
            prototypes, alive = self.memory.prototypes(document, entities)
            parts.append((prototypes[alive], np.isin(entities, gold)[alive]))
        offsets = offsets_of_lengths([len(prototypes) for prototypes, _ in parts])
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        loss, gradient = contrast_loss(context, Contrast(offsets, *columns), scale=scale)
        owners = np.repeat(np.arange(len(known)), [len(gold) for gold in known])
        entities = np.concatenate([np.asarray(gold, dtype=np.int64) for gold in known])
        places = np.asarray(documents)[owners]
        for document in dict.fromkeys(documents):
            of_document = places == document
            self.memory.put(document, entities[of_document], context[owners[of_document]])
        return loss, backprop_units(ops.xp.asarray(gradient))


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
