"""Mentions of training documents to vectors, with a way back for the gradient."""

from collections.abc import Callable

import numpy as np
from thinc.api import Model
from thinc.types import Floats2d

from ..errors import Errors, MetricELError
from ..model.encoder import EncoderInput
from ..model.fingerprint import probe
from ..model.listeners import find_listener, is_frozen, missing_states
from ..model.pooling import pool_spans
from .feeding import feed, feeding_pipes
from .upstream import Upstream

KEPT_MENTIONS = 500_000
"""Mentions whose states are kept; when there are more it starts over. 1.5 GB of a BERT's."""


class MentionEncoder:
    """Encodes mentions through the listener, or past an upstream that does not learn.

    Behind one that is frozen and annotates nothing, each document goes through it
    once; the pooled states of its mentions are kept for the epochs to come.

    model (Model): The metric encoder.
    upstream (Upstream): The way to what its tok2vec listens to.
    """

    def __init__(self, model: Model, upstream: Upstream) -> None:
        self.model = model
        self.upstream = upstream
        self._states: dict[tuple[int, int, int], np.ndarray] = {}
        self._made_by = b""

    def begin_update(self, X: EncoderInput) -> tuple[Floats2d, Callable[[Floats2d], object]]:
        """Encode the mentions of a batch.

        X (EncoderInput): All documents of the batch, in order, and the mentions.
        RETURNS (tuple[Floats2d, Callable]): (n, width) vectors, as `metric_head` gives
            them, and the function from their gradient that adds to the gradients of the
            head, and of the tok2vec unless it is frozen.
        RAISES (MetricELError): E002 and E003 if the upstream is frozen and out of reach.
        """
        listener = find_listener(self.model.get_ref("tok2vec"))
        frozen = listener is not None and is_frozen(listener)
        if listener is None or not frozen or not missing_states(listener, X.docs):
            return self.model.begin_update(X)
        pooled = self._pooled(X)
        n = np.arange(len(X.spans))
        rows = np.stack((np.zeros_like(n), n, n + 1), axis=1)
        return self.model.get_ref("head").begin_update(([pooled], rows, X.texts))

    def _pooled(self, X: EncoderInput) -> Floats2d:
        """RETURNS (Floats2d): (n, tok2vec width) pooled states of the mentions."""
        tok2vec, ops = self.model.get_ref("tok2vec"), self.model.ops
        weights = probe(self.upstream.models(tok2vec))
        if weights != self._made_by:
            self._states.clear()
            self._made_by = weights
        documents = [hash(doc.to_array("ORTH").tobytes()) for doc in X.docs]
        keys = [(documents[i], start, end) for i, start, end in X.spans.tolist()]
        unknown = np.asarray([key not in self._states for key in keys], dtype=bool)
        if unknown.any():
            if len(self._states) > KEPT_MENTIONS:
                self._states.clear()
                unknown[:] = True
            states = self._read(X, X.spans[unknown])
            new = [key for key, is_new in zip(keys, unknown, strict=True) if is_new]
            self._states.update(zip(new, states, strict=True))
        if not keys:
            return ops.alloc2f(0, self.model.get_ref("head").get_dim("nI"))
        return ops.asarray2f(np.stack([self._states[key] for key in keys]))

    def _read(self, X: EncoderInput, spans: np.ndarray) -> np.ndarray:
        """Run the documents of mentions through the upstream.

        RETURNS (np.ndarray): (m, tok2vec width) float32 pooled states of the spans.
        """
        nlp = self.upstream.pipeline()
        if nlp is None:
            raise MetricELError(Errors.E002.format(name=self.upstream.component_name))
        tok2vec, head = self.model.get_ref("tok2vec"), self.model.get_ref("head")
        indices, owners = np.unique(spans[:, 0], return_inverse=True)
        docs = feed(feeding_pipes(nlp, self.model), [X.docs[i] for i in indices])
        self.upstream.check_states(tok2vec, docs)
        renumbered = np.column_stack((owners, spans[:, 1:]))
        tokvecs = tok2vec.predict(docs)
        pooled, _ = pool_spans(self.model.ops, tokvecs, renumbered, head.get_dim("nI"))
        return self.model.ops.to_numpy(pooled)
