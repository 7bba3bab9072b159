"""The component: mentions of a document to concepts of a knowledge base."""

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate

from ..errors import Errors, MetricELError, MetricELWarning, Warnings
from ..model.encoder import encoder_input
from ..model.upstream import Upstream
from .kb_encoder import KBEncoder
from .scoring import scored_copy, set_candidates
from .settings import check_settings, restore_changes, settings_changed

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from .training import TrainingNames

logger = logging.getLogger("spacy_metric_el")

Candidates = list[tuple[str, float]]

REPORTED_EXAMPLES = 10_000
"""Examples whose gold concepts are looked for in the knowledge base before training."""

SCORED_CANDIDATES = 64
"""Candidates that scoring looks at, whatever `top_k` is."""


class MetricEntityLinker(TrainablePipe):
    """Links the entities of a document to concepts, by search in a learned metric space.

    vocab (Vocab): The pipeline's vocabulary.
    model (Model): A `spacy_metric_el.MetricEncoder.v1`.
    name (str): Name of the component.
    nlp (Language | None): The pipeline, to find the upstream component of a listener.
    loss (Any): A `LinkingLoss`.
    scorer (Callable | None): Scores examples.
    overwrite (bool): Whether to replace links that entities already have.
    use_gold_ents (bool): Whether evaluation links the gold mentions, so that the
        score does not depend on the entity recognizer.
    labels_discard (Iterable[str]): Entity labels that always get `nil`.
    threshold (float | None): Best scores below it get `nil`; 0 to 1.
    nil (str): The id of a mention that is linked to nothing.
    top_k (int): Candidates kept in `span._.kb_ents`.
    search_rows (int): Nearest rows that candidates are ranked from.
    prior_weight (float): Weight of log p(entity | name) in the score.
    names_per_entity (int): Names of each gold entity in a training step.
    negatives_per_entity (int): Mined names of other entities, for each gold one.
    entity_rows (bool): Whether an entity with a definition gets a row of its own.
    carry_kb (bool): Whether the saved pipeline holds the knowledge base, or only
        says where it is.
    seed (int): Seed of a fresh encoder, and of drawing names in training.
    RAISES (MetricELError): E008 for a setting out of range.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "metric_entity_linker",
        *,
        nlp: Language | None = None,
        loss: Any,
        scorer: Callable | None,
        overwrite: bool,
        use_gold_ents: bool,
        labels_discard: Iterable[str],
        threshold: float | None,
        nil: str,
        top_k: int,
        search_rows: int,
        prior_weight: float,
        names_per_entity: int,
        negatives_per_entity: int,
        entity_rows: bool,
        carry_kb: bool,
        seed: int,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg: dict[str, Any] = {
            "overwrite": overwrite,
            "use_gold_ents": use_gold_ents,
            "labels_discard": list(labels_discard),
            "threshold": threshold,
            "nil": nil,
            "top_k": top_k,
            "search_rows": search_rows,
            "prior_weight": prior_weight,
            "names_per_entity": names_per_entity,
            "negatives_per_entity": negatives_per_entity,
            "entity_rows": entity_rows,
            "carry_kb": carry_kb,
            "seed": seed,
        }
        check_settings(self.name, self.cfg)
        self._configured = dict(self.cfg)
        self.loss = loss
        self.scorer = scorer
        self._kb: FaissKnowledgeBase | None = None
        self._missing_kb: str | None = None
        self._upstream = Upstream(self, nlp)
        self.encoder = KBEncoder(model, self._upstream, self.cfg)
        self._training_names: TrainingNames | None = None
        if not Span.has_extension("kb_ents"):
            Span.set_extension("kb_ents", default=[])

    # --- knowledge base ---

    @property
    def kb(self) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): The knowledge base. RAISES (MetricELError): E001 if none is set, E010 if the one that the pipeline points to is gone."""
        if self._kb is None and self._missing_kb is not None:
            raise MetricELError(Errors.E010.format(path=self._missing_kb))
        if self._kb is None:
            raise MetricELError(Errors.E001.format(name=self.name))
        return self._kb

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
        self._kb = loaded
        self._missing_kb = None
        self._training_names = None

    def load_kb(
        self,
        path: str | Path,
        *,
        reencode: bool = True,
        nlp: Language | None = None,
        progress: bool = True,
    ) -> None:
        """Open a knowledge base, and make sure that its vectors are this encoder's.

        On a fresh linker, the encoder is initialized as well: with a fixed seed, and
        n-gram weights from the names.

        path (str | Path): A folder made by `spacy metric-el kb build`.
        reencode (bool): Whether to encode the names if the stored vectors are
            another encoder's; the result replaces them if the folder can be written,
            unless prototypes would be lost.
        nlp (Language | None): The pipeline that the linker stands in, where it has
            been moved to another one.
        progress (bool): Whether to show a progress bar.
        RAISES (MetricELError): E005 if the vectors are another encoder's and
            `reencode` is False; E132 to E135 for a damaged folder; E002, E004.
        """
        self._upstream.set_pipeline(nlp)
        self.set_kb(self.encoder.open_kb(path, reencode=reencode, progress=progress))

    def fingerprint(self) -> str:
        """RETURNS (str): A digest of all weights that decide a vector."""
        return self.encoder.fingerprint()

    def refresh_vectors(self, *, progress: bool = False) -> None:
        """Encode the names again if the weights have changed since they were encoded."""
        self.encoder.refresh(self.kb, progress=progress)

    def refresh_mining_index(self) -> None:
        """Embed the names that hard negatives are mined from with the present weights."""
        if self._training_names is not None:
            self._training_names.refresh(self.model)

    def encode_names(self, names: Sequence[str]) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 unit vectors of names."""
        from .name_docs import NameText

        if self._kb is not None:
            self.encoder.prepare(self._kb)
        return self.encoder.names.encode([NameText(name) for name in names])

    # --- prediction ---

    def predict(self, docs: Iterable[Doc], *, top_k: int | None = None) -> list[list[Candidates]]:
        """Find the candidates of the entities of documents.

        docs (Iterable[Doc]): With entities.
        top_k (int | None): Candidates of each entity; the setting `top_k` if None.
        RETURNS (list[list[Candidates]]): For each document and entity concept ids
            with scores, best first; none for labels that are discarded.
        RAISES (MetricELError): E001 without a knowledge base, E003 if the upstream
            component has not seen a document.
        """
        docs = [docs] if isinstance(docs, Doc) else list(docs)
        discard = set(self.cfg["labels_discard"])
        spans = [
            (i, ent.start, ent.end)
            for i, doc in enumerate(docs)
            for ent in doc.ents
            if ent.label_ not in discard
        ]
        found = iter(self.predict_spans(docs, spans, top_k=top_k))
        return [[[] if ent.label_ in discard else next(found) for ent in doc.ents] for doc in docs]

    def predict_spans(
        self,
        docs: Sequence[Doc],
        spans: Sequence[tuple[int, int, int]],
        *,
        top_k: int | None = None,
    ) -> list[Candidates]:
        """Find the candidates of any spans, entities or not.

        docs (Sequence[Doc]): Documents that have been through the upstream component.
        spans (Sequence[tuple[int, int, int]]): Index of the document, first token,
            last token + 1.
        top_k (int | None): Candidates of each span; the setting `top_k` if None.
        RETURNS (list[Candidates]): For each span concept ids with scores, best first.
        RAISES (MetricELError): E001, E003, and E009 for a span without tokens.
        """
        self._upstream.follow(docs)
        self.refresh_vectors(progress=True)
        if not spans:
            return []
        vectors = self.encode_spans(docs, spans)
        return self.kb.candidates(
            vectors,
            top_k=self.cfg["top_k"] if top_k is None else top_k,
            prior_weight=self.cfg["prior_weight"],
            search_rows=self.cfg["search_rows"],
        )

    def encode_spans(
        self, docs: Sequence[Doc], spans: Sequence[tuple[int, int, int]]
    ) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 unit vectors of spans of documents."""
        self._upstream.check_states(self.model.get_ref("tok2vec"), docs)
        vectors = self.model.predict(encoder_input(docs, spans))
        return self.model.ops.to_numpy(vectors)

    def set_annotations(self, docs: Sequence[Doc], scores: list[list[Candidates]]) -> None:
        """Write links and candidates.

        docs (Iterable[Doc]): The documents.
        scores (list[list[Candidates]]): As `predict` returns them. Each token of an
            entity gets the best id, or `nil` below the threshold; `span._.kb_ents`
            gets the candidates.
        """
        set_candidates(docs, scores)
        threshold = self.cfg["threshold"] or 0.0
        for doc, doc_candidates in zip(docs, scores, strict=True):
            for ent, candidates in zip(doc.ents, doc_candidates, strict=True):
                if ent.kb_id and not self.cfg["overwrite"]:
                    continue
                linked = bool(candidates) and candidates[0][1] >= threshold
                for token in ent:
                    token.ent_kb_id_ = candidates[0][0] if linked else self.cfg["nil"]

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
        use_gold_ents = self.cfg["use_gold_ents"]
        copies = [scored_copy(example, gold_ents=use_gold_ents) for example in examples]
        for batch in util.minibatch([example.predicted for example in copies], 32):
            found = self.predict(batch, top_k=SCORED_CANDIDATES)
            if use_gold_ents:
                self.set_annotations(batch, found)
            else:
                set_candidates(batch, found)
        return self.scorer(copies, nil=self.cfg["nil"], kb=self._kb, **kwargs)

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
        if kb_loader is not None:
            self.set_kb(kb_loader)
        sample = [example.predicted for example in islice(get_examples(), 10)]
        self.encoder.initialize(sample)
        if self._kb is not None:
            self.encoder.fit(self._kb)
            self._report_unknown_concepts(islice(get_examples(), REPORTED_EXAMPLES))
        training = nlp.config.get("training", {}) if nlp is not None else {}
        accumulate = training.get("accumulate_gradient", 1)
        if isinstance(accumulate, int) and accumulate > 1:
            message = Warnings.W001.format(name=self.name, value=accumulate)
            warnings.warn(message, MetricELWarning, stacklevel=2)

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
        RAISES (MetricELError): E001 without a knowledge base, E006 for mixed precision.
        """
        from .training import step_gradients

        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "MetricEntityLinker.update")
        # Without any token the upstream components send nothing to listeners.
        if not any(len(example.predicted) for example in examples):
            return losses
        set_dropout_rate(self.model, drop)
        names = self._names_for_training()
        self._upstream.check_precision(self.model.get_ref("tok2vec"))
        losses[self.name] += step_gradients(self, examples, names)
        self.encoder.set_fitted()
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    # --- storage ---

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the component. The knowledge base goes along, or only its place (`carry_kb`)."""
        path = Path(path)
        self._refresh_before_saving()
        serialize: dict[str, Callable] = {
            "cfg": lambda p: srsly.write_json(p, self._saved_cfg()),
            "vocab": lambda p: self.vocab.to_disk(p, exclude=exclude),
            "model": lambda p: self.model.to_disk(p),
        }
        if self._kb is not None and self.cfg["carry_kb"]:
            serialize["kb"] = self._kb.to_disk
        util.to_disk(path, serialize, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "MetricEntityLinker":
        """Load the component; the knowledge base is mapped, not read."""
        from ..kb import FaissKnowledgeBase

        deserialize: dict[str, Callable] = {
            "cfg": lambda p: self._take_saved_cfg(srsly.read_json(p), exclude),
            "vocab": lambda p: self.vocab.from_disk(p, exclude=exclude),
            "model": lambda p: self.model.from_bytes(p.read_bytes()),
        }
        util.from_disk(path, deserialize, exclude)
        carried = Path(path) / "kb"
        if "kb" not in exclude and carried.is_dir():
            self.set_kb(FaissKnowledgeBase.from_disk(carried))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """RETURNS (bytes): The component, with its knowledge base if `carry_kb` is set."""
        self._refresh_before_saving()
        serialize: dict[str, Callable] = {
            "cfg": lambda: srsly.json_dumps(self._saved_cfg()),
            "vocab": lambda: self.vocab.to_bytes(exclude=exclude),
            "model": self.model.to_bytes,
        }
        if self._kb is not None and self.cfg["carry_kb"]:
            serialize["kb"] = self._kb.to_bytes
        return util.to_bytes(serialize, exclude)

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "MetricEntityLinker":
        """Load the component from what `to_bytes` returned."""
        from ..kb import FaissKnowledgeBase

        deserialize: dict[str, Callable] = {
            "cfg": lambda b: self._take_saved_cfg(srsly.json_loads(b), exclude),
            "vocab": lambda b: self.vocab.from_bytes(b, exclude=exclude),
            "model": self.model.from_bytes,
            "kb": lambda b: self.set_kb(FaissKnowledgeBase.from_bytes(b)),
        }
        util.from_bytes(bytes_data, deserialize, exclude)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.vocab, self.model, self.name, self.loss, self.scorer, self.cfg, self._kb)
        return (_rebuild, parts)

    # --- parts ---

    def _saved_cfg(self) -> dict[str, Any]:
        """What the config does not say: settings changed at run time, and learned state."""
        kb_path = self._missing_kb
        if self._kb is not None and not self.cfg["carry_kb"]:
            if self._kb.path is None:
                message = Warnings.W006.format(name=self.name)
                warnings.warn(message, MetricELWarning, stacklevel=4)
            else:
                kb_path = str(self._kb.path.resolve())
        return {
            "changed": settings_changed(self.cfg, self._configured),
            "loss": self.loss.to_dict() if self.loss is not None else None,
            "kb_path": kb_path,
        }

    def _take_saved_cfg(self, saved: dict[str, Any], exclude: Iterable[str]) -> None:
        from ..kb import FaissKnowledgeBase

        restore_changes(self.cfg, self._configured, saved["changed"])
        if saved["loss"] is not None and self.loss is not None:
            self.loss.from_dict(saved["loss"])
        self._missing_kb = saved["kb_path"]
        if self._missing_kb is not None and "kb" not in exclude:
            try:
                self.set_kb(FaissKnowledgeBase.from_disk(self._missing_kb))
            except MetricELError as err:
                logger.warning("%s (%s)", Errors.E010.format(path=self._missing_kb), err)

    def _refresh_before_saving(self) -> None:
        """Bring vectors that go along up to date, if training has left them behind."""
        carried = self._kb.vectors if self._kb is not None and self.cfg["carry_kb"] else None
        if carried is not None and self._upstream.pipeline() is not None:
            self.refresh_vectors(progress=True)

    def _names_for_training(self) -> "TrainingNames":
        from .training import TrainingNames

        if self._training_names is None:
            self._training_names = TrainingNames(self.kb.records, seed=self.cfg["seed"])
            self._training_names.refresh(self.model)
        return self._training_names

    def _report_unknown_concepts(self, examples: Iterable[Example]) -> None:
        from ..learning.gold import gold_mentions

        gold = {
            concept_id
            for example in examples
            for mention in gold_mentions(example, nil=self.cfg["nil"])
            for concept_id in mention.concept_ids
        }
        unknown = sorted(concept_id for concept_id in gold if concept_id not in self.kb)
        if unknown:
            first = ", ".join(unknown[:3])
            logger.warning(
                Warnings.W004.format(count=len(unknown), total=len(gold), examples=first)
            )


def _rebuild(
    vocab: Vocab,
    model: Model,
    name: str,
    loss: Any,
    scorer: Callable | None,
    cfg: dict[str, Any],
    kb: "FaissKnowledgeBase | None",
) -> MetricEntityLinker:
    """Make a linker again in another process (see `MetricEntityLinker.__reduce__`)."""
    linker = MetricEntityLinker(vocab, model, name, loss=loss, scorer=scorer, **cfg)
    if kb is not None:
        linker.set_kb(kb)
    return linker
