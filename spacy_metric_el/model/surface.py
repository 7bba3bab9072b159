"""The surface channel: a string as the weighted sum of its n-grams' vectors.

Untrained, it is a random projection of weighted character n-grams: a lexical
matcher. Both the weights and the vectors are parameters and learn.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from thinc.api import Model, NumpyOps, Ops
from thinc.types import Floats1d, Floats2d

from ..stages import stage
from ..text import hash_ngrams, normalise_name

_VECTOR_SHIFT = np.uint64(24)


def surface_channel(
    width: int,
    *,
    weight_rows: int = 262_144,
    vector_rows: int = 8_192,
    min_size: int = 2,
    max_size: int = 5,
    seed: int = 0,
) -> Model[list[str], Floats2d]:
    """Embed texts by their character n-grams.

    y(text) = sum over n-grams g of w[hash(g)] * E[hash'(g)]

    The two tables are hashed apart: weights tell frequent n-grams from rare ones
    and need many rows of one number; vectors need few rows, as two names' n-grams
    seldom collide.

    width (int): Width of the vectors.
    weight_rows (int): Rows of w, one number each.
    vector_rows (int): Rows of E, `width` numbers each.
    min_size (int): Shortest n-gram, in characters.
    max_size (int): Longest n-gram, in characters.
    seed (int): Seed of the vectors' initialisation.
    RETURNS (Model[list[str], Floats2d]): Texts in, shape (n, width) out.
    """
    return Model(
        "surface_channel",
        forward,
        init=init,
        params={"w": None, "E": None},
        dims={"nO": width, "nW": weight_rows, "nV": vector_rows},
        attrs={"min_size": min_size, "max_size": max_size, "seed": seed},
    )


def init(model: Model, X: object = None, Y: object = None) -> None:
    """Set the weights to one and draw the vectors from a seeded normal distribution."""
    if model.has_param("E"):
        return
    nO, nV, nW = model.get_dim("nO"), model.get_dim("nV"), model.get_dim("nW")
    rng = np.random.default_rng(model.attrs["seed"])
    vectors: Any = rng.standard_normal((nV, nO), dtype=np.float32) / np.float32(np.sqrt(nO))
    model.set_param("E", model.ops.asarray2f(vectors))
    model.set_param("w", model.ops.alloc1f(nW) + 1.0)


def forward(
    model: Model[list[str], Floats2d], texts: list[str], is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], list[str]]]:
    """RETURNS (tuple[Floats2d, Callable]): (n, nO) sums of weighted n-gram vectors, and the function that adds to the gradients of both tables."""
    weights, vectors = cast(Floats1d, model.get_param("w")), cast(Floats2d, model.get_param("E"))
    weight_ids, vector_ids, owners = _ngram_ids(model, texts)
    w = weights[weight_ids]
    Y = _weighted_sum(model.ops, w, vectors, vector_ids, owners, len(texts))

    def backprop(dY: Floats2d) -> list[str]:
        ops = model.ops
        dY_rows = dY[owners]
        d_weights = ops.alloc1f(weights.shape[0])
        ops.scatter_add(d_weights, weight_ids, (vectors[vector_ids] * dY_rows).sum(axis=1))
        model.inc_grad("w", d_weights)
        # The transpose of the forward sum: owners and vectors change places.
        model.inc_grad("E", _weighted_sum(ops, w, dY, owners, vector_ids, vectors.shape[0]))
        return []

    return Y, backprop


def fit_weights(model: Model[list[str], Floats2d], texts: Sequence[str]) -> None:
    """Set the n-grams' weights from how many texts hold them.

    w = sqrt(1 + log((1 + N) / (1 + df))), the square root of scikit-learn's smooth
    inverse document frequency: on real names it was level with or ahead of the
    full one, as both sides of a comparison are weighted.

    model (Model): A `surface_channel`, initialised.
    texts (Sequence[str]): The names of a knowledge base, (N,).
    """
    n_rows = model.get_dim("nW")
    frequency = np.zeros(n_rows, dtype=np.int64)
    for start in range(0, len(texts), 20_000):
        weight_ids, _, owners = _ngram_ids(model, list(texts[start : start + 20_000]), NumpyOps())
        pairs = np.unique(owners * n_rows + weight_ids)
        frequency += np.bincount(pairs % n_rows, minlength=n_rows)
    idf = 1.0 + np.log((1.0 + len(texts)) / (1.0 + frequency))
    model.set_param("w", model.ops.asarray1f(np.sqrt(idf).astype(np.float32)))


def _ngram_ids(model: Model, texts: list[str], ops: Ops | None = None) -> tuple:
    ops = ops or model.ops
    owners: Any
    sizes = model.attrs["min_size"], model.attrs["max_size"]
    with stage("hashing of n-grams"):
        names = [normalise_name(text) for text in texts]
        hashes, owners = hash_ngrams(names, min_size=sizes[0], max_size=sizes[1])
    weight_ids: Any = (hashes % np.uint64(model.get_dim("nW"))).astype(np.int64)
    vector_ids: Any = ((hashes >> _VECTOR_SHIFT) % np.uint64(model.get_dim("nV"))).astype(np.int64)
    return tuple(ops.asarray(ids, dtype="int64") for ids in (weight_ids, vector_ids, owners))


def _weighted_sum(
    ops: Ops, w: Floats1d, vectors: Floats2d, ids: object, owners: object, n_texts: int
) -> Floats2d:
    """Sum weighted vectors by their owners: Y[i] = sum over j with owners[j] == i of w[j] * vectors[ids[j]]."""
    if isinstance(ops, NumpyOps):
        # Here, as spaCy imports this module for its registry.
        from scipy.sparse import csr_matrix

        table = csr_matrix((w, (owners, ids)), shape=(n_texts, vectors.shape[0]))
        return ops.asarray2f(table @ vectors)
    Y = ops.alloc2f(n_texts, vectors.shape[1])
    ops.scatter_add(Y, owners, vectors[ids] * w[:, None])  # type: ignore[arg-type, index, call-overload]
    return Y
