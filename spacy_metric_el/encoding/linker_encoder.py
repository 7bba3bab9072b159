"""Keeps an encoder and the vectors of a knowledge base together.

Vectors belong to the weights that made them. Here it is known which those are, a
fresh encoder is initialized and fitted, and names are encoded again when the
weights have moved on.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from ..errors import Errors, MetricELError, Warnings
from ..model.encoder import encoder_input
from ..model.fingerprint import fingerprint, probe
from .mention_encoder import MentionEncoder
from .name_encoder import NameEncoder
from .upstream import Upstream, has_weights

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from ..kb.index.row_vectors import NgramFit

logger = logging.getLogger("spacy_metric_el")

TOLD_FROM = 20_000
"""From so many names on, encoding them takes long enough to be worth a warning."""


class KBEncoder:
    """The encoder of a linker, for the names of its knowledge base.

    model (Model): The metric encoder.
    upstream (Upstream): The way to what its tok2vec listens to.
    cfg (dict[str, Any]): The linker's settings, as they are at each moment;
        `entity_rows` and `seed` are used.
    """

    def __init__(self, model: Model, upstream: Upstream, cfg: dict[str, Any]) -> None:
        self.model = model
        self.upstream = upstream
        self.cfg = cfg
        self.names = NameEncoder(model, upstream)
        self.mentions = MentionEncoder(model, upstream)
        # The weights, and the vectors that they were last found to have made.
        self._checked: tuple[bytes, Any] = (b"", None)
        # The surface channel that was fitted last, and what it was fitted to.
        self._fit: tuple[str, NgramFit] | None = None

    def models(self) -> list[Model]:
        """RETURNS (list[Model]): All models whose weights decide the vector of a name."""
        head = self.model.get_ref("head")
        if not head.attrs["name_context"]:
            return [self._surface()]
        return [self.model, *self.upstream.models(self.model.get_ref("tok2vec"))]

    def fingerprint(self) -> str:
        """RETURNS (str): A digest of all weights that decide a vector."""
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
            np.random.seed(self.cfg["seed"])
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
        fit_channels(self.names, kb, seed=self.cfg["seed"], ngram_weights=known)
        weights = surface.ops.to_numpy(surface.get_param("w"))
        self._fit = (fingerprint([surface]), NgramFit(start, weights.copy()))
        self.set_fitted()

    def set_fitted(self) -> None:
        """Say that the weights are worth keeping: no vocabulary may be fitted to any more."""
        self.model.get_ref("head").attrs["fitted"] = True

    def refresh(self, kb: "FaissKnowledgeBase", *, progress: bool, workers: int = 1) -> None:
        """Make sure that the vectors of a knowledge base are of the present weights.

        kb (FaissKnowledgeBase): Gets vectors, if its own are others'.
        progress (bool): Whether to show a progress bar.
        workers (int): Processes that encode names.
        """
        checked_probe, checked_vectors = self._checked
        is_known = kb.vectors is not None and kb.vectors is checked_vectors
        if is_known and probe(self.models()) == checked_probe:
            return
        self.prepare(kb)
        own = self.fingerprint()
        if not self._owns(kb, own):
            self._encode(kb, own, progress=progress, workers=workers)
        self._checked = (probe(self.models()), kb.vectors)

    def open_kb(
        self, path: str | Path, *, reencode: bool, progress: bool, workers: int
    ) -> "FaissKnowledgeBase":
        """Open a knowledge base with vectors of the present weights.

        path (str | Path): Its folder; keeps new vectors where that is possible.
        reencode (bool): Whether new vectors may be made.
        progress (bool): Whether to show a progress bar.
        workers (int): Processes that encode names.
        RETURNS (FaissKnowledgeBase): The knowledge base.
        RAISES (MetricELError): E005 if new vectors were needed and must not be made.
        """
        from ..kb import FaissKnowledgeBase

        kb = FaissKnowledgeBase.from_disk(path)
        self.prepare(kb)
        stored = kb.vectors
        if not reencode and not self._owns(kb, own := self.fingerprint()):
            found = stored.fingerprint if stored is not None else None
            raise MetricELError(Errors.E005.format(path=path, found=found, expected=own))
        self.refresh(kb, progress=progress, workers=workers)
        if kb.vectors is not stored:
            _keep_vectors(kb)
        return kb

    def _owns(self, kb: "FaissKnowledgeBase", own: str) -> bool:
        """Whether a knowledge base has the rows that this encoder would make."""
        if kb.vectors is None or kb.vectors.fingerprint != own:
            return False
        described = kb.records.n_definitions if self.cfg["entity_rows"] else 0
        return kb.vectors.counts() == {"name": kb.records.n_names, "entity": described}

    def _encode(self, kb: "FaissKnowledgeBase", own: str, *, progress: bool, workers: int) -> None:
        from .kb_rows import encode_kb

        level = logging.WARNING if kb.records.n_names >= TOLD_FROM else logging.INFO
        logger.log(level, Warnings.W002.format(names=kb.records.n_names))
        settings: Any = {"progress": progress, "workers": workers}
        vectors = encode_kb(self.names, kb, own, entity_rows=self.cfg["entity_rows"], **settings)
        if self._fit is not None and self._fit[0] == fingerprint([self._surface()]):
            vectors = replace(vectors, fit=self._fit[1])
        kb.vectors = vectors

    def _surface(self) -> Model:
        return self.model.get_ref("head").get_ref("surface")


def _keep_vectors(kb: "FaissKnowledgeBase") -> None:
    """Store new vectors, where that is possible."""
    if kb.path is None:
        return
    try:
        if not os.access(kb.path, os.W_OK):
            raise PermissionError("the folder is read-only")
        kb.to_disk(kb.path)
    except OSError as err:
        logger.warning(Warnings.W005.format(path=kb.path, reason=err))
