"""The encoder of a linker, and the vectors that it has of a knowledge base.

Vectors belong to the weights that made them and to the names that they are of. Here it is
known which those are: a fresh encoder is initialized and fitted, and names are encoded
again when the weights have moved on.
"""

import logging
import os
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from ..errors import Errors, MetricELError, Warnings
from ..mentions import SpanRef
from ..model.encoder import EncoderInput, encoder_input
from ..model.fingerprint import fingerprint, probe
from .mention_encoder import MentionEncoder
from .name_encoder import NameEncoder
from .upstream import Upstream, has_weights

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from ..kb.index.row_vectors import NgramFit, RowVectors
    from ..kb.records import Records

logger = logging.getLogger("spacy_metric_el")

WARNED_FROM = 20_000
"""From so many names on, encoding them takes long enough to be worth a warning."""


class _HeldVectors(NamedTuple):
    """Vectors of a knowledge base, and the weights that they were last found to be of.

    kb (weakref.ref): The knowledge base.
    weights (bytes): As `probe` sums them up.
    vectors (RowVectors): Of its names.
    """

    kb: "weakref.ref[FaissKnowledgeBase]"
    weights: bytes
    vectors: "RowVectors"


class LinkerEncoder:
    """Encodes mentions and names, and holds the vectors of one knowledge base.

    model (Model): The metric encoder.
    upstream (Upstream): The way to what its tok2vec listens to.
    seed (int): Of a fresh encoder.
    """

    def __init__(self, model: Model, upstream: Upstream, *, seed: int = 0) -> None:
        self.model = model
        self.upstream = upstream
        self.seed = seed
        self.names = NameEncoder(model, upstream)
        self.mentions = MentionEncoder(model, upstream)
        self._held: _HeldVectors | None = None
        # The surface channel that was fitted last, and what it was fitted to.
        self._fit: tuple[str, NgramFit] | None = None

    @property
    def context_width(self) -> int:
        """RETURNS (int): Width of the context channel, the first part of each vector."""
        return self.model.get_ref("head").get_ref("projection").get_dim("nO")

    @property
    def has_name_context(self) -> bool:
        """RETURNS (bool): Whether names have a context channel, too."""
        return self.model.get_ref("head").attrs["name_context"]

    def encode(self, X: EncoderInput) -> np.ndarray:
        """Encode spans of documents, with texts of their own.

        X (EncoderInput): Documents that have been through the upstream component, and spans.
        RETURNS (np.ndarray): (n, width) float32. Unit vectors where names have a context
            channel; else the context and the surface of each have length one.
        RAISES (MetricELError): E003 if a document has not been through the upstream component.
        """
        self.upstream.check_states(self.model.get_ref("tok2vec"), X.docs)
        return self.model.ops.to_numpy(self.model.predict(X))

    def encode_spans(self, docs: Sequence[Doc], spans: Sequence[SpanRef]) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 vectors of spans of documents; see `encode`."""
        return self.encode(encoder_input(docs, spans))

    # --- weights ---

    def models(self) -> list[Model]:
        """RETURNS (list[Model]): All models whose weights decide the vector of a name."""
        if not self.has_name_context:
            return [self._surface()]
        return [self.model, *self.upstream.models(self.model.get_ref("tok2vec"))]

    def fingerprint(self) -> str:
        """RETURNS (str): A digest of all weights that decide the vector of a name."""
        return fingerprint(self.models())

    def is_initialized(self) -> bool:
        """RETURNS (bool): Whether the encoder has weights."""
        return self.model.get_ref("head").get_ref("projection").has_param("W") is True

    def initialize(self, sample: list[Doc]) -> None:
        """Give the encoder weights.

        sample (list[Doc]): Documents to infer widths from; may be empty.
        RAISES (MetricELError): E004 if the upstream has no weights yet.
        """
        head = self.model.get_ref("head")
        models = self.upstream.models(self.model.get_ref("tok2vec"))
        if models and head.has_dim("nI") is None:
            width = models[0].maybe_get_dim("nO")
            if width is None or not has_weights(models):
                raise MetricELError(Errors.E004.format(name=self.upstream.component_name))
            head.set_dim("nI", width)
        docs = sample or [Doc(Vocab(), words=["hello"])]
        self.model.initialize(X=encoder_input(docs, []))

    def prepare(self, kb: "FaissKnowledgeBase") -> None:
        """Initialize a fresh encoder, and fit one that nothing was learned with yet.

        kb (FaissKnowledgeBase): Its names say what n-grams weigh.
        """
        if not self.is_initialized():
            # Layers of the tok2vec draw from the global generator.
            state = np.random.get_state()
            np.random.seed(self.seed)
            try:
                self.initialize([])
            finally:
                np.random.set_state(state)
        if not self.model.get_ref("head").attrs["fitted"]:
            self.fit(kb)

    def fit(self, kb: "FaissKnowledgeBase") -> None:
        """Fit the channels to a vocabulary; see `kb_rows.fit_channels`.

        kb (FaissKnowledgeBase): With vectors of the same encoder, it has the weights of
            n-grams, too.
        """
        from ..kb.index.row_vectors import NgramFit
        from .kb_rows import fit_channels

        surface = self._surface()
        start, stored = fingerprint([surface]), kb.vectors.fit if kb.vectors else None
        known = stored.weights if stored is not None and stored.start == start else None
        fit_channels(self.names, kb.records, seed=self.seed, ngram_weights=known)
        weights = surface.ops.to_numpy(surface.get_param("w"))
        self._fit = (fingerprint([surface]), NgramFit(start, weights.copy()))
        self.set_fitted()

    def set_fitted(self) -> None:
        """Say that the weights are worth keeping: no vocabulary may be fitted to any more."""
        self.model.get_ref("head").attrs["fitted"] = True

    # --- vectors of a knowledge base ---

    def held_vectors(self, kb: "FaissKnowledgeBase") -> "RowVectors | None":
        """RETURNS (RowVectors | None): The vectors that the encoder had of a knowledge base last, perhaps by earlier weights; None if it had none."""
        return self._held.vectors if self._held is not None and self._held.kb() is kb else None

    def vectors_of(
        self,
        kb: "FaissKnowledgeBase",
        *,
        work_folder: Path | None = None,
        progress: bool = False,
        workers: int = 1,
    ) -> "RowVectors":
        """Give the vectors of a knowledge base by the present weights; names are encoded if need be.

        kb (FaissKnowledgeBase): Stays as it is: what another linker has of it, too.
        work_folder (Path | None): Where many vectors may wait for their index; if None, the
            knowledge base's own folder where it has one that can be written, else the
            system's folder for such files.
        progress (bool): Whether to show a progress bar.
        workers (int): Processes that encode names.
        RETURNS (RowVectors): A row for each name.
        """
        held = self._held
        if held is not None and held.kb() is kb and probe(self.models()) == held.weights:
            return held.vectors
        self.prepare(kb)
        own = self.fingerprint()
        older = [x for x in (self.held_vectors(kb), kb.vectors) if x is not None]
        found = next((x for x in older if _is_whole(x, own, kb.records)), None)
        if found is None:
            found = self._encode(
                kb,
                own,
                older,
                work_folder=work_folder or _own_folder(kb),
                progress=progress,
                workers=workers,
            )
        self._hold(kb, found)
        return found

    def open_kb(
        self, path: str | Path, *, reencode: bool = True, progress: bool = False, workers: int = 1
    ) -> "FaissKnowledgeBase":
        """Open a knowledge base with vectors of the present weights.

        path (str | Path): Its folder; keeps new vectors where that is possible.
        reencode (bool): Whether new vectors may be made.
        progress (bool): Whether to show a progress bar.
        workers (int): Processes that encode names.
        RETURNS (FaissKnowledgeBase): The knowledge base.
        RAISES (MetricELError): E005 if the vectors are another encoder's and new ones must not
            be made, E136 if there are none.
        """
        from ..kb import FaissKnowledgeBase

        kb = FaissKnowledgeBase.from_disk(path)
        if not reencode:
            self.prepare(kb)
            own, stored = self.fingerprint(), kb.require_vectors()
            if not _is_whole(stored, own, kb.records):
                found = stored.fingerprint
                raise MetricELError(Errors.E005.format(path=path, found=found, expected=own))
            self._hold(kb, stored)
            return kb
        vectors = self.vectors_of(kb, progress=progress, workers=workers)
        if vectors is not kb.vectors:
            _store_vectors(kb, vectors)
        return kb

    def _hold(self, kb: "FaissKnowledgeBase", vectors: "RowVectors") -> None:
        self._held = _HeldVectors(weakref.ref(kb), probe(self.models()), vectors)

    def _encode(
        self,
        kb: "FaissKnowledgeBase",
        own: str,
        older: "Sequence[RowVectors]",
        *,
        work_folder: Path | None,
        progress: bool,
        workers: int,
    ) -> "RowVectors":
        from .kb_rows import encode_rows

        # Whoever trains expects it at each evaluation.
        is_surprise = kb.records.n_names >= WARNED_FROM and self.held_vectors(kb) is None
        level = logging.WARNING if is_surprise else logging.INFO
        logger.log(level, Warnings.W002.format(names=kb.records.n_names))
        vectors = encode_rows(
            self.names,
            kb,
            own,
            older=older,
            work_folder=work_folder,
            progress=progress,
            workers=workers,
        )
        if self._fit is not None and self._fit[0] == fingerprint([self._surface()]):
            vectors = replace(vectors, fit=self._fit[1])
        return vectors

    def _surface(self) -> Model:
        return self.model.get_ref("head").get_ref("surface")


def _is_whole(vectors: "RowVectors", own: str, records: "Records") -> bool:
    """RETURNS (bool): Whether vectors are by an encoder, and of all names."""
    return vectors.fingerprint == own and vectors.n_rows == records.n_names


def _own_folder(kb: "FaissKnowledgeBase") -> Path | None:
    """RETURNS (Path | None): The folder that a knowledge base lies in; None if there is none, or it cannot be written."""
    return kb.path if kb.path is not None and os.access(kb.path, os.W_OK) else None


def _store_vectors(kb: "FaissKnowledgeBase", vectors: "RowVectors") -> None:
    """Put new vectors into the knowledge base's folder, where that is possible."""
    try:
        if _own_folder(kb) is None:
            raise PermissionError("the folder is read-only")
        kb.store_vectors(vectors)
    except OSError as err:
        logger.warning(Warnings.W005.format(path=kb.path, reason=err))
