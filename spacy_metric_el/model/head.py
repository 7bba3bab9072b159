"""What the linker learns on top of the shared encoder: projection, surface channel, gate."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from thinc.api import Linear, Model, zero_init
from thinc.types import Floats2d

from ..geometry import scale_to_unit
from ..stages import stage
from .pooling import pool_spans

HeadInput = tuple[list[Floats2d], np.ndarray, list[str]]


def metric_head(
    surface: Model[list[str], Floats2d],
    *,
    context_width: int,
    context_share: float,
    name_context: bool = True,
    seed: int = 0,
) -> Model[HeadInput, Floats2d]:
    """Turn token vectors, spans and the spans' texts into vectors of the spans.

    With c the unit vector of the projected, pooled states, s that of the surface
    channel and g = sigmoid(gate([c, s])), the output is [sqrt(g) c, sqrt(1 - g) s], a unit
    vector. Where names have no context channel (attribute `name_context`) nothing is to be
    weighed: the output is [c, s], whose length is the square root of 2, and each channel is
    compared by itself.

    surface (Model[list[str], Floats2d]): A `surface_channel`.
    context_width (int): Width of the context channel.
    context_share (float): g before training.
    name_context (bool): Whether names have a context channel.
    seed (int): Of the projection.
    RETURNS (Model[HeadInput, Floats2d]): (token vectors, spans, texts) in, (n, context and
        surface width) float32 out.
    """
    projection = Linear(nO=context_width)
    surface_width = surface.get_dim("nO")
    gate = Linear(nO=1, nI=context_width + surface_width, init_W=zero_init)
    return Model(
        "metric_head",
        forward,
        init=init,
        layers=[projection, surface, gate],
        refs={"projection": projection, "surface": surface, "gate": gate},
        dims={"nI": None, "nO": context_width + surface_width},
        attrs={
            "context_share": context_share,
            "seed": seed,
            "fitted": False,
            "name_context": name_context,
        },
    )


def init(model: Model, X: Any = None, Y: Any = None) -> None:
    """Initialise each layer from the model's seed; needs the dimension nI."""
    projection, gate = model.get_ref("projection"), model.get_ref("gate")
    width = model.get_dim("nI")
    if projection.has_dim("nI") is None:
        projection.set_dim("nI", width)
    model.get_ref("surface").initialize()
    if projection.has_param("W") is None:
        rng = np.random.default_rng(model.attrs["seed"])
        nO = projection.get_dim("nO")
        W: Any = rng.standard_normal((nO, width), dtype=np.float32) / np.float32(math.sqrt(nO))
        projection.set_param("W", model.ops.asarray2f(W))
        projection.set_param("b", model.ops.alloc1f(nO))
    if gate.has_param("W") is None:
        gate.initialize()
        share = model.attrs["context_share"]
        gate.set_param("b", model.ops.asarray1f([math.log(share / (1 - share))]))


def forward(
    model: Model[HeadInput, Floats2d], X: HeadInput, is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], list[Floats2d]]]:
    """RETURNS (tuple[Floats2d, Callable]): (n, nO) vectors of the spans, and the function from their gradient to that of the token vectors."""
    tokvecs, spans, texts = X
    ops = model.ops
    width = model.get_dim("nI")
    with stage("pooling"):
        pooled, backprop_pool = pool_spans(ops, tokvecs, spans, width)
    if not len(spans):
        empty = ops.alloc2f(0, model.get_dim("nO"))
        return empty, lambda dY: backprop_pool(ops.alloc2f(0, width))
    projected, backprop_projection = model.get_ref("projection")(pooled, is_train)
    context, backprop_context = scale_to_unit(projected)
    summed, backprop_surface = model.get_ref("surface")(texts, is_train)
    surface, backprop_unit = scale_to_unit(summed)
    n_context = context.shape[1]
    if not model.attrs["name_context"]:

        def backprop_channels(dY: Floats2d) -> list[Floats2d]:
            backprop_surface(backprop_unit(ops.as_contig(dY[:, n_context:])))
            d_context = backprop_context(ops.as_contig(dY[:, :n_context]))
            return backprop_pool(backprop_projection(d_context))

        return ops.xp.hstack((context, surface)), backprop_channels
    logits, backprop_gate = model.get_ref("gate")(ops.xp.hstack((context, surface)), is_train)
    g = 1.0 / (1.0 + ops.xp.exp(-logits))
    root, co_root = ops.xp.sqrt(g), ops.xp.sqrt(1.0 - g)
    Y = ops.xp.hstack((root * context, co_root * surface))

    def backprop(dY: Floats2d) -> list[Floats2d]:
        d_context, d_surface = dY[:, :n_context] * root, dY[:, n_context:] * co_root
        # d sqrt(g) / d logit = sqrt(g) (1 - g) / 2, and likewise for sqrt(1 - g).
        d_logits = 0.5 * (
            (dY[:, :n_context] * context).sum(axis=1, keepdims=True) * root * (1.0 - g)
            - (dY[:, n_context:] * surface).sum(axis=1, keepdims=True) * co_root * g
        )
        d_gate = backprop_gate(ops.as_contig(d_logits))
        backprop_surface(backprop_unit(d_surface + d_gate[:, n_context:]))
        d_projected = backprop_context(d_context + d_gate[:, :n_context])
        return backprop_pool(backprop_projection(d_projected))

    return Y, backprop


def fit_projection(model: Model[HeadInput, Floats2d], pooled: np.ndarray) -> None:
    """Set the projection to the principal directions of real names, whitened.

    States of a transformer crowd into a cone; centring and scaling the leading
    directions makes their cosines tell names apart before any training
    (whitening: Su et al. 2021, arXiv:2103.15316).

    model (Model): A `metric_head`, initialised.
    pooled (np.ndarray): (n, nI) pooled states of a sample of names, n > 1.
    """
    projection = model.get_ref("projection")
    nO = projection.get_dim("nO")
    X = pooled.astype("float64")
    mean = X.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(X - mean, rowvar=False))
    order = np.argsort(values)[::-1][:nO]
    # Directions without variance in the sample would be scaled to pure noise.
    kept = values[order] > values[order[0]] * 1e-4
    scale = np.where(kept, 1.0 / np.sqrt(np.maximum(values[order], 1e-12)), 0.0)
    top = directions[:, order]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(len(order))])
    W: Any = np.zeros((nO, X.shape[1]))
    W[: len(order)] = (top * scale).T
    projection.set_param("W", model.ops.asarray2f(W.astype("float32")))
    projection.set_param("b", model.ops.asarray1f((-W @ mean).astype("float32")))
