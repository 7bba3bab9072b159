"""Names to vectors, through the encoder that the pipeline already has."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..errors import Errors, MetricELError
from ..geometry import scale_to_unit, unit_rows
from ..model.pooling import pool_spans
from .name_docs import length_batches, make_name_docs, throwaway_tokenizer
from .upstream import Upstream

CHARACTERS_PER_BATCH = 16_384
"""Characters of a batch, padding counted in: some 4,000 wordpieces."""

SURFACES_PER_BATCH = 8_192
"""Names whose n-grams are hashed together."""

NAMES_PER_VOCAB = 20_000
"""Names after which the throw-away vocabulary is thrown away."""


class NameEncoder:
    """Encodes names as the mentions of documents are encoded.

    model (Model): The metric encoder.
    upstream (Upstream): The way to what its tok2vec listens to.
    """

    def __init__(self, model: Model, upstream: Upstream) -> None:
        self.model = model
        self.upstream = upstream
        self._tokenizer_copy: Tokenizer | None = None
        self._copied_from: tuple = ()
        self._n_tokenized = 0

    @property
    def width(self) -> int:
        """RETURNS (int): Width of the vectors."""
        return self.model.get_dim("nO")

    @property
    def n_empty(self) -> int:
        """RETURNS (int): Columns in front that are 0 in all vectors of names: the context channel, where names have none."""
        head = self.model.get_ref("head")
        if head.attrs["name_context"]:
            return 0
        return self.width - head.get_ref("surface").get_dim("nO")

    def encode(
        self, names: Sequence[str], *, advance: Callable[[int], object] | None = None
    ) -> np.ndarray:
        """Encode names for an index.

        names (Sequence[str]): None of them empty.
        advance (Callable[[int], object] | None): Called with the number of names of each batch that is done.
        RETURNS (np.ndarray): (n, width) float32 unit vectors.
        """
        head = self.model.get_ref("head")
        if not head.attrs["name_context"]:
            return self.encode_surfaces(names, advance=advance)
        vectors = np.zeros((len(names), self.width), dtype=np.float32)
        for batch, docs, spans, texts in self._batches(names):
            tokvecs = self.upstream.predict(self.model.get_ref("tok2vec"), docs)
            Y = head.predict((tokvecs, spans, texts))
            vectors[batch] = head.ops.to_numpy(Y)
            if advance is not None:
                advance(len(batch))
        return vectors

    def pool(self, names: Sequence[str]) -> np.ndarray:
        """RETURNS (np.ndarray): (n, tok2vec width) float32 pooled states, before the head."""
        width = self.model.get_ref("head").get_dim("nI")
        ops = self.model.ops
        pooled = np.zeros((len(names), width), dtype=np.float32)
        for batch, docs, spans, _ in self._batches(names):
            tokvecs = self.upstream.predict(self.model.get_ref("tok2vec"), docs)
            pooled[batch] = ops.to_numpy(pool_spans(ops, tokvecs, spans, width)[0])
        return pooled

    def begin_update(self, names: Sequence[str]) -> tuple[Floats2d, Callable[[Floats2d], None]]:
        """Encode names with a way back for the gradient.

        names (Sequence[str]): None of them empty.
        RETURNS (tuple[Floats2d, Callable]): (n, width) unit vectors, and the function
            from their gradient that adds to the gradients of head and upstream.
        RAISES (MetricELError): As `Upstream.check_precision`, for names with a context channel.
        """
        head = self.model.get_ref("head")
        ops = self.model.ops
        if not head.attrs["name_context"]:
            return self._begin_update_surfaces(names)
        self.upstream.check_precision(self.model.get_ref("tok2vec"))
        order: list[int] = []
        parts, backprops = [], []
        for batch, docs, spans, texts in self._batches(names):
            tokvecs, backprop_tokvecs = self.upstream.begin_update(
                self.model.get_ref("tok2vec"), docs
            )
            Y, backprop_head = head.begin_update((tokvecs, spans, texts))
            order.extend(batch)
            parts.append(Y)
            backprops.append((len(batch), backprop_head, backprop_tokvecs))
        vectors = ops.alloc2f(len(names), self.model.get_dim("nO"))
        if order:
            vectors[order] = ops.xp.concatenate(parts, axis=0)

        def backprop(d_vectors: Floats2d) -> None:
            start = 0
            for size, backprop_head, backprop_tokvecs in backprops:
                d_part = d_vectors[order[start : start + size]]
                d_tokvecs = backprop_head(ops.as_contig(d_part))
                if backprop_tokvecs is not None:
                    backprop_tokvecs(d_tokvecs)
                start += size

        return vectors, backprop

    def encode_surfaces(
        self, names: Sequence[str], *, advance: Callable[[int], object] | None = None
    ) -> np.ndarray:
        """Encode names by their surface channel alone.

        names (Sequence[str]): Any texts.
        advance (Callable[[int], object] | None): See `encode`.
        RETURNS (np.ndarray): (n, width) float32, unit vectors, zeros in the context channel.
        """
        surface = self.model.get_ref("head").get_ref("surface")
        vectors = np.zeros((len(names), self.width), dtype=np.float32)
        start = self.width - surface.get_dim("nO")
        for first in range(0, len(names), SURFACES_PER_BATCH):
            texts = list(names[first : first + SURFACES_PER_BATCH])
            units = unit_rows(surface.predict(texts))
            vectors[first : first + len(texts), start:] = surface.ops.to_numpy(units)
            if advance is not None:
                advance(len(texts))
        return vectors

    def _begin_update_surfaces(
        self, names: Sequence[str]
    ) -> tuple[Floats2d, Callable[[Floats2d], None]]:
        surface, ops = self.model.get_ref("head").get_ref("surface"), self.model.ops
        summed, backprop_surface = surface.begin_update(list(names))
        units, backprop_units = scale_to_unit(summed)
        vectors = ops.alloc2f(len(names), self.model.get_dim("nO"))
        start = vectors.shape[1] - units.shape[1]
        vectors[:, start:] = units

        def backprop(d_vectors: Floats2d) -> None:
            backprop_surface(backprop_units(ops.as_contig(d_vectors[:, start:])))

        return vectors, backprop

    def _batches(
        self, names: Sequence[str]
    ) -> Iterator[tuple[list[int], list[Doc], np.ndarray, list[str]]]:
        """YIELDS (tuple[list[int], list[Doc], np.ndarray, list[str]]): Places of names of similar length, their documents, spans and texts."""
        lengths = [len(name) + 2 for name in names]
        nlp = self._pipeline()
        for batch in length_batches(lengths, CHARACTERS_PER_BATCH):
            tokenizer = self._tokenizer(nlp)
            self._n_tokenized += len(batch)
            texts = [names[i] for i in batch]
            yield batch, *make_name_docs(texts, tokenizer), texts

    def _pipeline(self) -> Language:
        nlp = self.upstream.pipeline()
        if nlp is None:
            raise MetricELError(Errors.E002.format(name=self.upstream.component_name))
        return nlp

    def _tokenizer(self, nlp: Language) -> Tokenizer | Callable:
        """Copy the pipeline's tokenizer, if it is another one or the copy's vocabulary is full.

        A copy takes 0.1 s, for spaCy's special cases; more than a training step's names.
        """
        source = _tokenizer_state(nlp.tokenizer)
        if source != self._copied_from or self._n_tokenized > NAMES_PER_VOCAB:
            self._tokenizer_copy = throwaway_tokenizer(nlp)
            self._copied_from, self._n_tokenized = source, 0
        return self._tokenizer_copy or nlp.make_doc


def _tokenizer_state(tokenizer: Any) -> tuple:
    names = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
    rules = getattr(tokenizer, "rules", None) or ()
    vectors = getattr(getattr(tokenizer, "vocab", None), "vectors", None)
    # The copy holds on to both parts, so their ids are not given away again.
    tables = id(getattr(vectors, "data", None)), id(getattr(vectors, "key2row", None))
    return (tokenizer, len(rules), *tables, *(getattr(tokenizer, name, None) for name in names))
