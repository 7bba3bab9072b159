"""Mean pooling of token vectors over spans, with its gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from thinc.api import Ops
from thinc.types import Floats2d

from ..segments import offsets_of_lengths, places_of


def pool_spans(
    ops: Ops, tokvecs: Sequence[Floats2d], spans: np.ndarray, width: int
) -> tuple[Floats2d, Callable[[Floats2d], list[Floats2d]]]:
    """Average the token vectors of each span.

    ops (Ops): Where the vectors live.
    tokvecs (Sequence[Floats2d]): One array a document, (tokens, width).
    spans (np.ndarray): (n, 3) int: index of the document, first token, last token + 1.
    width (int): Width of the token vectors, for a batch without tokens.
    RETURNS (tuple[Floats2d, Callable]): The means, (n, width), and the function from
        their gradient to the gradients of `tokvecs`.
    """
    lengths = np.asarray([vecs.shape[0] for vecs in tokvecs], dtype=np.int64)
    offsets = offsets_of_lengths(lengths)
    sizes = spans[:, 2] - spans[:, 1]
    first = offsets[spans[:, 0]] + spans[:, 1]
    places: Any = places_of(first, sizes)
    token_ids: Any = ops.asarray(places, dtype="int64")
    span_sizes = ops.asarray1i(sizes.astype("int32"))
    filled = [vecs for vecs in tokvecs if vecs.shape[0]]
    flat = ops.xp.concatenate(filled, axis=0) if filled else ops.alloc2f(0, width)
    pooled = ops.reduce_mean(flat[token_ids], span_sizes) if len(spans) else ops.alloc2f(0, width)

    def backprop(d_pooled: Floats2d) -> list[Floats2d]:
        d_flat = ops.alloc2f(flat.shape[0], flat.shape[1])
        if len(spans):
            ops.scatter_add(d_flat, token_ids, ops.backprop_reduce_mean(d_pooled, span_sizes))
        return [
            ops.as_contig(d_flat[start:end]) if end > start else ops.alloc2f(0, vecs.shape[1])
            for vecs, start, end in zip(tokvecs, offsets, offsets[1:], strict=False)
        ]

    return pooled, backprop
