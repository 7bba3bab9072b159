"""The same two encoders as small convolutional networks: spaCy's HashEmbedCNN."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.ml.models import build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from spacy.util import fix_random_seed
from thinc.api import Adam, Model
from torch import Tensor

from .encoders import END, MAX_LENGTH, SEPARATOR, START, mark
from .units import Context

WIDTH = 96

Pooling = list[np.ndarray]
"""For each document (tokens,) the share of each token in the vector."""


class CnnEncoders:
    """Two HashEmbedCNN of width 96 and depth 4, which start from nothing.

    An entity's vector is the mean over its words, as a convolution's first state
    knows only its neighbours.

    nlp (Language): Whose tokenizer is used.
    learn_rate (float): Of Adam; higher than for a BERT, as nothing is pretrained.
    seed (int): Of the weights.
    """

    def __init__(self, nlp: Language, *, learn_rate: float = 1e-3, seed: int = 0) -> None:
        self._nlp = nlp
        fix_random_seed(seed)
        self._mention, self._entity = (_make_network() for _ in range(2))
        self._optimizer = Adam(learn_rate)
        self._pending: list[tuple[Tensor, Pooling, Callable, Model]] = []

    def mentions(self, contexts: Sequence[Context], *, grad: bool = False) -> Tensor:
        """RETURNS (Tensor): (contexts, width), the mean of the states of a mention's first
        and last word."""
        docs, pooling = [], []
        for context in contexts:
            words = [word for part in context for word in self._words(part)]
            sizes = [len(self._words(part)) for part in context]
            numbers = np.split(np.arange(len(words)), np.cumsum(sizes)[:-1])
            left, mention, right = (part.tolist() for part in numbers)
            ids, (first, last) = mark(left, mention, right, markers=(-1, -2), room=MAX_LENGTH)
            written = {-1: START, -2: END}
            docs.append(Doc(self._nlp.vocab, [words[i] if i >= 0 else written[i] for i in ids]))
            shares = np.zeros(len(ids), dtype=np.float32)
            shares[first] += 0.5
            shares[last] += 0.5
            pooling.append(shares)
        return self._encode(self._mention, docs, pooling, grad=grad)

    def entities(self, texts: Sequence[Sequence[str]], *, grad: bool = False) -> Tensor:
        """RETURNS (Tensor): (texts, width), means over the words of types and names."""
        docs = []
        for parts in texts:
            words: list[str] = []
            for part in parts:
                words += [SEPARATOR] * bool(words) + self._words(part)
                if len(words) >= MAX_LENGTH:
                    break
            docs.append(Doc(self._nlp.vocab, list(islice(words, MAX_LENGTH))))
        pooling = [np.full(len(doc), 1 / len(doc), dtype=np.float32) for doc in docs]
        return self._encode(self._entity, docs, pooling, grad=grad)

    def step(self) -> None:
        """Carry the gradients of the vectors back through the networks, and update them."""
        for vectors, pooling, backprop, _ in self._pending:
            if vectors.grad is not None:
                gradient = vectors.grad.numpy()
                backprop([np.outer(p, g) for p, g in zip(pooling, gradient, strict=True)])
        for network in {id(pending[3]): pending[3] for pending in self._pending}.values():
            network.finish_update(self._optimizer)
        self._pending.clear()

    def _words(self, text: str) -> list[str]:
        return [token.text for token in self._nlp.tokenizer(text) if not token.is_space]

    def _encode(self, network: Model, docs: list[Doc], pooling: Pooling, *, grad: bool) -> Tensor:
        states: Any
        if not grad:
            states = network.predict(docs)
            return torch.from_numpy(_pool(states, pooling))
        states, backprop = network.begin_update(docs)
        vectors = torch.from_numpy(_pool(states, pooling)).requires_grad_()
        self._pending.append((vectors, pooling, backprop, network))
        return vectors


def _make_network() -> Model:
    network = build_hash_embed_cnn_tok2vec(
        width=WIDTH,
        depth=4,
        embed_size=5000,
        window_size=1,
        maxout_pieces=3,
        subword_features=True,
        pretrained_vectors=None,
    )
    network.initialize()
    return network


def _pool(states: Sequence[np.ndarray], pooling: Pooling) -> np.ndarray:
    """RETURNS (np.ndarray): (documents, width) float32."""
    rows = [shares @ state for shares, state in zip(pooling, states, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, WIDTH), dtype=np.float32)
