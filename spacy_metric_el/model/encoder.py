"""The metric encoder: spans of documents, or names, to vectors of one space."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..errors import Errors, MetricELError
from .head import metric_head
from .listeners import lacks_batch
from .surface import surface_channel


class EncoderInput(NamedTuple):
    """Documents and the spans to embed.

    docs (list[Doc]): All documents of the batch, in order.
    spans (np.ndarray): (n, 3) int: index of the document, first token, last token + 1.
    texts (list[str]): (n,) what the surface channel reads for each span.
    """

    docs: list[Doc]
    spans: np.ndarray
    texts: list[str]


def encoder_input(
    docs: Sequence[Doc],
    spans: Sequence[tuple[int, int, int]],
    texts: Sequence[str] | None = None,
) -> EncoderInput:
    """Put spans of documents together for the encoder.

    docs (Sequence[Doc]): All documents of the batch, in order.
    spans (Sequence[tuple[int, int, int]]): Index of the document, first token, last
        token + 1.
    texts (Sequence[str] | None): What the surface channel reads; the spans' own texts if None.
    RETURNS (EncoderInput): The input.
    RAISES (MetricELError): E009 for a span without tokens.
    """
    table = np.asarray(spans, dtype=np.int64).reshape(-1, 3)
    for i, start, end in table[table[:, 1] >= table[:, 2]][:1]:
        raise MetricELError(Errors.E009.format(doc=i, start=start, end=end))
    if texts is None:
        texts = [docs[i][start:end].text for i, start, end in table]
    return EncoderInput(list(docs), table, list(texts))


def build_metric_encoder(
    tok2vec: Model[list[Doc], list[Floats2d]],
    context_width: int = 128,
    surface_width: int = 256,
    context_share: float = 0.15,
    name_context: bool = False,
    ngram_weight_rows: int = 262_144,
    ngram_vector_rows: int = 8_192,
    ngram_min_size: int = 2,
    ngram_max_size: int = 5,
    seed: int = 0,
) -> Model[EncoderInput, Floats2d]:
    """Construct the encoder (registered as `spacy_metric_el.MetricEncoder.v1`).

    One pass of `tok2vec` over each document; every span is pooled from it. The
    context channel (pooled states) and the surface channel (character n-grams of
    the span's text) are unit vectors that are set side by side. With `name_context`
    a learned gate weights them, so that the whole is a unit vector, and the dot
    product of two of them is the weighted sum of the channels' cosines. Without it,
    the default, they stay as they are: each channel has length one, the whole the
    square root of 2.

    tok2vec (Model[list[Doc], list[Floats2d]]): A listener, or a model of its own.
    context_width (int): Width of the context channel.
    surface_width (int): Width of the surface channel.
    context_share (float): The gate before training: share of the context channel
        in a similarity, above 0 and below 1.
    name_context (bool): Whether names have a context channel. Without one they never
        pass through the tok2vec: a knowledge base is encoded in seconds whatever the
        transformer, candidates are found by their surface alone, and context speaks
        through the prototypes of training mentions. With one, untrained, links are no
        better (MedMentions dev: 57.3 with, 57.5 without).
    ngram_weight_rows (int): Rows of the table of n-gram weights.
    ngram_vector_rows (int): Rows of the table of n-gram vectors.
    ngram_min_size (int): Shortest n-gram, in characters.
    ngram_max_size (int): Longest n-gram, in characters.
    seed (int): Seed of the initialisation.
    RETURNS (Model[EncoderInput, Floats2d]): `EncoderInput` in, vectors of shape
        (n, context_width + surface_width), float32, out.
    RAISES (MetricELError): E011 for a setting out of range.
    """
    _check_share(context_share)
    _check_size("seed", seed, low=0)
    _check_size("context_width", context_width)
    _check_size("surface_width", surface_width)
    _check_size("ngram_weight_rows", ngram_weight_rows)
    _check_size("ngram_vector_rows", ngram_vector_rows)
    _check_size("ngram_min_size", ngram_min_size)
    if ngram_max_size < ngram_min_size:
        expected = f"`ngram_min_size` ({ngram_min_size}) or more"
        raise MetricELError(
            Errors.E011.format(setting="ngram_max_size", value=ngram_max_size, expected=expected)
        )
    surface = surface_channel(
        surface_width,
        weight_rows=ngram_weight_rows,
        vector_rows=ngram_vector_rows,
        min_size=ngram_min_size,
        max_size=ngram_max_size,
        seed=seed,
    )
    head = metric_head(
        surface,
        context_width=context_width,
        context_share=context_share,
        name_context=name_context,
        seed=seed,
    )
    model: Model[EncoderInput, Floats2d] = Model(
        "metric_encoder",
        forward,
        init=init,
        layers=[tok2vec, head],
        refs={"tok2vec": tok2vec, "head": head},
        dims={"nO": context_width + surface_width},
    )
    return model


def forward(
    model: Model[EncoderInput, Floats2d], X: EncoderInput, is_train: bool
) -> tuple[Floats2d, Callable[[Floats2d], EncoderInput]]:
    """RETURNS (tuple[Floats2d, Callable]): (n, nO) vectors of the spans, and the function that takes their gradient back through both layers."""
    tok2vec = model.get_ref("tok2vec")
    # A curated listener has no backward pass behind a frozen transformer, and reads the documents'.
    reads_only = is_train and lacks_batch(tok2vec)
    tokvecs, backprop_tok2vec = tok2vec(X.docs, is_train and not reads_only)
    Y, backprop_head = model.get_ref("head")((tokvecs, X.spans, X.texts), is_train)

    def backprop(dY: Floats2d) -> EncoderInput:
        backprop_tok2vec(backprop_head(dY))
        return X

    return Y, backprop


def init(model: Model, X: EncoderInput | None = None, Y: Floats2d | None = None) -> None:
    """Initialise the tok2vec, unless it listens, and then the head for its width."""
    tok2vec, head = model.get_ref("tok2vec"), model.get_ref("head")
    tok2vec.initialize(X=X.docs if X is not None else None)
    if head.has_dim("nI") is None and tok2vec.has_dim("nO"):
        head.set_dim("nI", tok2vec.get_dim("nO"))
    head.initialize()


def _check_share(share: float) -> None:
    # At 0 or 1 the gate has no gradient, and one channel would be lost for good.
    if not 0 < share < 1:
        expected = "above 0 and below 1"
        raise MetricELError(
            Errors.E011.format(setting="context_share", value=share, expected=expected)
        )


def _check_size(setting: str, value: int, *, low: int = 1) -> None:
    if value < low:
        raise MetricELError(
            Errors.E011.format(setting=setting, value=value, expected=f"{low} or more")
        )
