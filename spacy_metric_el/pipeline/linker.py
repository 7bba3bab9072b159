"""The component: mentions of a document to concepts of a knowledge base."""

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import srsly
from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate

from ..encoding.feeding import feeding_pipes
from ..encoding.linker_encoder import LinkerEncoder
from ..encoding.upstream import Upstream
from ..errors import Errors, MetricELError, MetricELWarning, Warnings
from ..mentions import Candidate, SpanRef
from ..settings import LinkerSettings, restore_changes, settings_changed, settings_from
from ..stages import stage
from .annotations import copy_to_score, set_candidates, set_links
from .checks import warn_of_accumulation, warn_of_unknown_concepts

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from ..kb.index.row_vectors import RowVectors
    from ..ranking.ranker import CandidateRanker
    from ..training.losses import LinkingLoss
    from ..training.step import TrainingStep

logger = logging.getLogger("spacy_metric_el")

GetExamples = Callable[[], Iterable[Example]]

SCORED_CANDIDATES = 64
"""Candidates that scoring looks at, whatever `top_k` is."""

SCORED_TOGETHER = 32
"""Documents that are linked together to be scored."""


class MetricEntityLinker(TrainablePipe):
    """Links the entities of a document to concepts, by search in a learned metric space.

    vocab (Vocab): The pipeline's vocabulary.
    model (Model): A `spacy_metric_el.MetricEncoder.v1`.
    name (str): Name of the component.
    nlp (Language | None): The pipeline, to find the upstream component of a listener.
    loss (LinkingLoss): Compares mentions with names in training.
    scorer (Callable | None): Scores examples.
    settings (LinkerSettings | None): See there; the defaults if None. They are kept in
        `cfg`, where each may be changed at run time.
    RAISES (MetricELError): E008 for a setting out of range.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "metric_entity_linker",
        *,
        nlp: Language | None = None,
        loss: "LinkingLoss",
        scorer: Callable[..., dict[str, Any]] | None,
        settings: LinkerSettings | None = None,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg = (settings or LinkerSettings()).model_dump()
        # As the config says; settings that differ from it are saved.
        self._configured = self.settings
        self.loss = loss
        self.scorer = scorer
        self._upstream = Upstream(self, nlp)
        self.encoder = LinkerEncoder(model, self._upstream, seed=self._configured.seed)
        self._kb: FaissKnowledgeBase | None = None
        # The folder that a loaded pipeline points to, if nothing can be opened there.
        self._missing_kb: str | None = None
        # What was learned is kept by concept id; it becomes a ranker for each knowledge base.
        self.learned: dict[str, Any] | None = None
        self._ranker: CandidateRanker | None = None
        self._get_examples: GetExamples | None = None
        self._step: TrainingStep | None = None
        if not Span.has_extension("kb_ents"):
            Span.set_extension("kb_ents", default=[])

    @property
    def settings(self) -> LinkerSettings:
        """RETURNS (LinkerSettings): The settings as they are now. RAISES (MetricELError): E008, E016 for one in `cfg` that is out of range or unknown."""
        return settings_from(self.name, self.cfg)

    # --- knowledge base ---

    @property
    def kb(self) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): The knowledge base. RAISES (MetricELError): E001 if none is set, E010 if the one that the pipeline points to is gone."""
        if self._kb is None and self._missing_kb is not None:
            raise MetricELError(Errors.E010.format(path=self._missing_kb))
        if self._kb is None:
            raise MetricELError(Errors.E001.format(name=self.name))
        return self._kb

    @property
    def vectors(self) -> "RowVectors | None":
        """RETURNS (RowVectors | None): The vectors of the knowledge base that were searched last, else those that it came with; None if there are none yet."""
        return self.encoder.held_vectors(self.kb) or self.kb.vectors

    def set_kb(self, kb: "FaissKnowledgeBase | Callable[..., FaissKnowledgeBase]") -> None:
        """Set the knowledge base. Its names are encoded when they are first needed.

        kb (FaissKnowledgeBase | Callable): The knowledge base, or a function that
            takes the vocab and returns it, as spaCy's `set_kb` takes.
        RAISES (MetricELError): E007 for anything else.
        """
        from ..kb import FaissKnowledgeBase

        loaded = kb(self.vocab) if callable(kb) else kb
        if not isinstance(loaded, FaissKnowledgeBase):
            raise MetricELError(Errors.E007.format(found=type(loaded).__name__))
        self._kb, self._missing_kb = loaded, None
        self._step = self._ranker = None

    def load_kb(
        self,
        path: str | Path,
        *,
        reencode: bool = True,
        nlp: Language | None = None,
        progress: bool = True,
        workers: int = 1,
    ) -> None:
        """Open a knowledge base, and make sure that there are vectors of it by this encoder.

        A fresh encoder is initialized: with a fixed seed, and n-gram weights from the names.

        path (str | Path): A folder made by `spacy metric-el kb build`.
        reencode (bool): Whether to encode the names if the stored vectors are another
            encoder's; the result replaces them if the folder can be written.
        nlp (Language | None): The pipeline that the linker has been moved to.
        progress (bool): Whether to show a progress bar.
        workers (int): Processes that encode names; see `name_workers`.
        RAISES (MetricELError): E005 if the vectors are another encoder's, and E136 if there
            are none, and `reencode` is False; E132 to E135 for a damaged folder; E002, E004, E015.
        """
        self._upstream.set_pipeline(nlp)
        self.set_kb(
            self.encoder.open_kb(path, reencode=reencode, progress=progress, workers=workers)
        )

    def fingerprint(self) -> str:
        """RETURNS (str): A digest of all weights that decide the vector of a name."""
        return self.encoder.fingerprint()

    def refresh_vectors(self, *, progress: bool = False) -> None:
        """Encode the names again if the weights have changed since they were encoded."""
        self.encoder.vectors_of(self.kb, progress=progress)

    def encode_names(self, names: Sequence[str]) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 vectors of names, as those of the knowledge base."""
        if self._kb is not None:
            self.encoder.prepare(self._kb)
        return self.encoder.names.encode(names)

    # --- ranker ---

    @property
    def has_ranker(self) -> bool:
        """RETURNS (bool): Whether a ranker was fitted, so that scores are probabilities."""
        return self.learned is not None

    def fit_ranker(
        self,
        nlp: Language,
        get_examples: GetExamples | None = None,
        *,
        progress: bool = False,
    ) -> None:
        """Learn how to rank candidates, with the encoder as it is; see `fit_ranker`.

        nlp (Language): The pipeline that the linker stands in.
        get_examples (Callable | None): Returns annotated documents; those that the
            linker was initialized with, if None.
        progress (bool): Whether to show progress bars.
        RAISES (MetricELError): E012 and E014 if there is nothing to learn from.
        """
        from ..training.fit_ranker import fit_ranker

        self._upstream.set_pipeline(nlp)
        examples = get_examples or self._get_examples
        if examples is None:
            raise MetricELError(Errors.E014.format(name=self.name))
        feeds = feeding_pipes(nlp, self.model)
        self.set_ranker(
            fit_ranker(self.kb, self.encoder, feeds, examples, self.settings, progress=progress)
        )

    def get_ranker(self) -> "CandidateRanker | None":
        """RETURNS (CandidateRanker | None): The ranker for the knowledge base; None if none was fitted. RAISES (MetricELError): E013 for the evidence of another version."""
        if self.learned is not None and self._ranker is None:
            from ..ranking.ranker import EVIDENCE, CandidateRanker

            if self.learned.get("features") != EVIDENCE:
                raise MetricELError(Errors.E013)
            self._ranker = CandidateRanker.from_dict(self.learned, self.kb.records)
        return self._ranker

    def set_ranker(self, ranker: "CandidateRanker | None") -> None:
        """Take a ranker for the knowledge base, or give up the one that is there (None)."""
        self._ranker = ranker
        self.learned = ranker.to_dict() if ranker is not None else None

    # --- prediction ---

    def predict(
        self, docs: Iterable[Doc], *, top_k: int | None = None
    ) -> list[list[list[Candidate]]]:
        """Find the candidates of the entities of documents.

        docs (Iterable[Doc]): With entities.
        top_k (int | None): Candidates of each entity; the setting `top_k` if None.
        RETURNS (list[list[list[Candidate]]]): For each document and entity concept ids
            with scores, best first; none for labels that are discarded.
        RAISES (MetricELError): E001 without a knowledge base, E003 if the upstream
            component has not seen a document.
        """
        docs = [docs] if isinstance(docs, Doc) else list(docs)
        discard = set(self.settings.labels_discard)
        ents = [(i, e) for i, doc in enumerate(docs) for e in doc.ents if e.label_ not in discard]
        spans = [SpanRef(i, ent.start, ent.end) for i, ent in ents]
        labels = [ent.label_ for _, ent in ents]
        found = iter(self.predict_spans(docs, spans, labels=labels, top_k=top_k))
        return [[[] if ent.label_ in discard else next(found) for ent in doc.ents] for doc in docs]

    def predict_spans(
        self,
        docs: Sequence[Doc],
        spans: Sequence[SpanRef],
        *,
        labels: Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> list[list[Candidate]]:
        """Find the candidates of any spans, entities or not.

        With a fitted ranker scores are probabilities, and those of a span sum to at
        most 1; without one they are similarities.

        docs (Sequence[Doc]): Documents that have been through the upstream component.
        spans (Sequence[SpanRef]): Index of the document, first token, last token + 1;
            those of a document together.
        labels (Sequence[str] | None): Entity labels of the spans, where they have any.
        top_k (int | None): Candidates of each span; the setting `top_k` if None.
        RETURNS (list[list[Candidate]]): For each span concept ids with scores, best first.
        RAISES (MetricELError): E001, E003, and E009 for a span without tokens.
        """
        self._upstream.follow(docs)
        vectors = self.encoder.vectors_of(self.kb, progress=True)
        if not spans:
            return []
        from ..encoding.mentions import encode_mentions
        from ..ranking.retrieval import channel_cosines, keep_first, name_candidates, retrieve

        settings, records, ranker = self.settings, self.kb.records, self.get_ranker()
        top_k = settings.top_k if top_k is None else top_k
        with stage("linking"):
            spans = [SpanRef(*span) for span in spans]
            labels = [""] * len(spans) if labels is None else labels
            mentions = encode_mentions(self.encoder, docs, spans, labels)
            found = retrieve(records, vectors, mentions, settings, top_k=top_k)
            if ranker is None:
                ranked, scores = keep_first(found, top_k)
            else:
                cosines = channel_cosines(vectors, mentions, found)
                ranked, scores = ranker.rank(found, cosines, mentions.table, top_k=top_k)
            return name_candidates(records, ranked, scores)

    def search_names(self, names: str | Sequence[str], *, top_k: int = 10) -> list[list[Candidate]]:
        """Find the concepts whose names are nearest to names, without any document around them.

        names (str | Sequence[str]): One or more, none of them empty.
        top_k (int): Candidates of each name.
        RETURNS (list[list[Candidate]]): For each name concept ids with similarities, best first.
        RAISES (MetricELError): E001 without a knowledge base.
        """
        from ..mentions import encoded_names
        from ..ranking.retrieval import keep_first, name_candidates, retrieve

        # A single name, which is a sequence of its letters.
        names = [names] if isinstance(names, str) else list(names)
        vectors = self.encoder.vectors_of(self.kb, progress=True)
        mentions = encoded_names(names, self.encode_names(names), self.encoder.context_width)
        found = retrieve(self.kb.records, vectors, mentions, self.settings, top_k=top_k)
        return name_candidates(self.kb.records, *keep_first(found, top_k))

    def encode_spans(self, docs: Sequence[Doc], spans: Sequence[SpanRef]) -> np.ndarray:
        """Encode any spans, entities or not.

        docs (Sequence[Doc]): Documents that have been through the upstream component.
        spans (Sequence[SpanRef]): Index of the document, first token, last token + 1.
        RETURNS (np.ndarray): (n, width) float32. By default, where names have no context
            channel, the context and the surface of each span have length one; else the
            whole vector has.
        RAISES (MetricELError): E003, and E009 for a span without tokens.
        """
        return self.encoder.encode_spans(docs, spans)

    def set_annotations(
        self, docs: Sequence[Doc], scores: Sequence[Sequence[Sequence[Candidate]]]
    ) -> None:
        """Write links and candidates.

        docs (Iterable[Doc]): The documents.
        scores (Sequence[Sequence[Sequence[Candidate]]]): As `predict` returns them. Each
            token of an entity gets the best id, or `nil` below the threshold;
            `span._.kb_ents` gets the candidates.
        """
        settings = self.settings
        with stage("annotations"):
            set_candidates(docs, scores)
            set_links(
                docs,
                scores,
                threshold=settings.threshold,
                nil=settings.nil,
                overwrite=settings.overwrite,
            )

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples; see `evaluation.scorer`.

        Candidates are looked up on copies of the documents, more of them than
        `top_k`; with `use_gold_ents`, the copies have the gold mentions. The
        examples stay what they are.

        examples (Iterable[Example]): With predictions.
        RETURNS (dict[str, Any]): The scores, without any where no scorer is set.
        """
        examples = list(examples)
        validate_examples(examples, "MetricEntityLinker.score")
        if self.scorer is None:
            return {}
        settings = self.settings
        copies = [copy_to_score(example, gold_ents=settings.use_gold_ents) for example in examples]
        for batch in util.minibatch([copy.predicted for copy in copies], SCORED_TOGETHER):
            found = self.predict(batch, top_k=SCORED_CANDIDATES)
            if settings.use_gold_ents:
                self.set_annotations(batch, found)
            else:
                set_candidates(batch, found)
        return self.scorer(copies, nil=settings.nil, kb=self._kb, **kwargs)

    # --- training ---

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        # spaCy resolves this annotation at run time: it must not name what is not imported.
        kb_loader: Callable[..., Any] | None = None,
    ) -> None:
        """Initialize the encoder, for the widths and names that are there.

        get_examples (Callable[[], Iterable[Example]]): Returns a sample of examples.
        nlp (Language | None): The pipeline.
        kb_loader (Callable | None): Returns the knowledge base; such as
            `spacy_metric_el.FaissKnowledgeBase.v1`.
        """
        validate_get_examples(get_examples, "MetricEntityLinker.initialize")
        self._upstream.set_pipeline(nlp)
        # What was learned does not fit a fresh encoder.
        self.set_ranker(None)
        self._get_examples = get_examples
        if kb_loader is not None:
            self.set_kb(kb_loader)
        self._upstream.load_frozen(self.model.get_ref("tok2vec"))
        sample = [example.predicted for example in islice(get_examples(), 10)]
        self.encoder.initialize(sample)
        if self._kb is not None:
            self.encoder.fit(self._kb)
            warn_of_unknown_concepts(self._kb, get_examples(), nil=self.settings.nil)
        warn_of_accumulation(self.name, nlp.config.get("training", {}) if nlp is not None else {})

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from the gold mentions of a batch.

        A batch without mentions to learn from still sends zeros upstream: only the
        last listener back-propagates, and an early return would drop the gradients
        of all components before it.

        examples (Iterable[Example]): With gold entities and their concept ids.
        drop (float): Dropout rate.
        sgd (Optimizer | None): Takes a step if given.
        losses (dict[str, float] | None): Gets the loss under the component's name.
        RETURNS (dict[str, float]): The losses.
        RAISES (MetricELError): E001 without a knowledge base, E006 for mixed precision if names
            pass through the transformer as well.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "MetricEntityLinker.update")
        # Without any token the upstream components send nothing to listeners.
        if not any(len(example.predicted) for example in examples):
            return losses
        set_dropout_rate(self.model, drop)
        losses[self.name] += self._training_step().gradients(examples, self.settings)
        self.encoder.set_fitted()
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Take a step, `learn_rate_factor` times as long as those of other components."""
        from ..training.step import scaled_learn_rate

        with scaled_learn_rate(sgd, self.settings.learn_rate_factor):
            super().finish_update(sgd)

    def _training_step(self) -> "TrainingStep":
        if self._step is None:
            from ..training.step import TrainingStep

            self._step = TrainingStep(self.encoder, self.loss, self.kb, seed=self.settings.seed)
        return self._step

    # --- storage ---

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the component. The knowledge base goes along, or only its place (`carry_kb`)."""
        exclude = list(exclude)
        carried = self._kb_to_carry() if "kb" not in exclude else None
        super().to_disk(path, exclude=[*exclude, "cfg"])
        writers: dict[str, Callable[[Path], None]] = {
            "cfg": lambda p: srsly.write_json(p, self._state())
        }
        if self.learned is not None:
            writers["ranker"] = lambda p: srsly.write_msgpack(p, self.learned)
        if carried is not None:
            writers["kb"] = carried.to_disk
        util.to_disk(path, writers, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "MetricEntityLinker":
        """Load the component; the knowledge base is mapped, not read.

        path (str | Path): A folder that `to_disk` filled.
        exclude (Iterable[str]): Names of parts to leave as they are.
        RETURNS (MetricEntityLinker): The component itself.
        """
        from ..kb import FaissKnowledgeBase

        exclude = list(exclude)
        super().from_disk(path, exclude=[*exclude, "cfg"])
        readers: dict[str, Callable[[Path], None]] = {
            "cfg": lambda p: self._set_state(srsly.read_json(p), open_kb="kb" not in exclude),
            "ranker": lambda p: self.set_learned(srsly.read_msgpack(p) if p.is_file() else None),
            "kb": lambda p: self.set_kb(FaissKnowledgeBase.from_disk(p)) if p.is_dir() else None,
        }
        util.from_disk(path, readers, exclude)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """RETURNS (bytes): The component, with its knowledge base if `carry_kb` is set."""
        exclude = list(exclude)
        carried = self._kb_to_carry() if "kb" not in exclude else None
        pipe = srsly.msgpack_loads(super().to_bytes(exclude=[*exclude, "cfg"]))
        getters: dict[str, Callable[[], bytes]] = {"cfg": lambda: srsly.json_dumps(self._state())}
        if self.learned is not None:
            getters["ranker"] = lambda: srsly.msgpack_dumps(self.learned)
        if carried is not None:
            getters["kb"] = carried.to_bytes
        return srsly.msgpack_dumps({**pipe, **util.to_dict(getters, exclude)})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "MetricEntityLinker":
        """Load the component from what `to_bytes` returned.

        bytes_data (bytes): The component.
        exclude (Iterable[str]): Names of parts to leave as they are.
        RETURNS (MetricEntityLinker): The component itself.
        """
        from ..kb import FaissKnowledgeBase

        exclude = list(exclude)
        super().from_bytes(bytes_data, exclude=[*exclude, "cfg"])
        if "ranker" not in exclude:
            # Setters are called for parts that are there alone.
            self.set_learned(None)
        setters: dict[str, Callable[[bytes], object]] = {
            "cfg": lambda b: self._set_state(srsly.json_loads(b), open_kb="kb" not in exclude),
            "ranker": lambda b: self.set_learned(srsly.msgpack_loads(b)),
            "kb": lambda b: self.set_kb(FaissKnowledgeBase.from_bytes(b)),
        }
        util.from_bytes(bytes_data, setters, exclude)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        kb = self._kb.with_vectors(self.vectors) if self._kb is not None else None
        parts = _Parts(self.vocab, self.model, self.name, self.loss, self.scorer, self._configured)
        return (_rebuild, (type(self), parts, self.cfg, kb, self.learned))

    def _kb_to_carry(self) -> "FaissKnowledgeBase | None":
        """RETURNS (FaissKnowledgeBase | None): The knowledge base that is saved with the component, beside vectors that training has not left behind."""
        if self._kb is None or not self.cfg["carry_kb"]:
            return None
        # Without a pipeline names cannot be encoded: the vectors stay as they are.
        if self.vectors is not None and self._upstream.pipeline() is not None:
            self.refresh_vectors(progress=True)
        return self._kb.with_vectors(self.vectors)

    def _state(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): What the config does not say: settings changed at run time, and learned state."""
        return {
            "changed": settings_changed(self.cfg, self._configured),
            "loss": self.loss.to_dict() if self.loss is not None else None,
            "kb_path": self._missing_kb if self.cfg["carry_kb"] else self._kb_place(),
        }

    def _set_state(self, saved: Mapping[str, Any], *, open_kb: bool) -> None:
        from ..kb import FaissKnowledgeBase

        restore_changes(self.cfg, self._configured, saved.get("changed", {}))
        if saved["loss"] is not None and self.loss is not None:
            self.loss.from_dict(saved["loss"])
        path = self._missing_kb = saved["kb_path"]
        if path is not None and open_kb:
            try:
                self.set_kb(FaissKnowledgeBase.from_disk(path))
            except MetricELError as err:
                logger.warning("%s (%s)", Errors.E010.format(path=path), err)

    def set_learned(self, learned: dict[str, Any] | None) -> None:
        """Take what a ranker learned, as `CandidateRanker.to_dict` returns it; None for no ranker."""
        self.learned, self._ranker = learned, None

    def _kb_place(self) -> str | None:
        """RETURNS (str | None): The folder that a saved pipeline points to; with a warning (W006) if the knowledge base lies in none."""
        if self._kb is None:
            return self._missing_kb
        if self._kb.path is None:
            message = Warnings.W006.format(name=self.name)
            warnings.warn(message, MetricELWarning, stacklevel=5)
            return self._missing_kb
        return str(self._kb.path.resolve())


class _Parts(NamedTuple):
    """What a linker is made of, to be made again in another process."""

    vocab: Vocab
    model: Model
    name: str
    loss: "LinkingLoss"
    scorer: Callable[..., dict[str, Any]] | None
    configured: LinkerSettings


def _rebuild(
    kind: type[MetricEntityLinker],
    parts: _Parts,
    cfg: dict[str, Any],
    kb: "FaissKnowledgeBase | None",
    learned: dict[str, Any] | None,
) -> MetricEntityLinker:
    """RETURNS (MetricEntityLinker): A linker made again in another process, in no pipeline yet."""
    linker = kind(
        parts.vocab,
        parts.model,
        parts.name,
        loss=parts.loss,
        scorer=parts.scorer,
        settings=parts.configured,
    )
    # Settings that were changed at run time stay known as changed, and are saved.
    linker.cfg.update(cfg)
    if kb is not None:
        linker.set_kb(kb)
    linker.set_learned(learned)
    return linker
