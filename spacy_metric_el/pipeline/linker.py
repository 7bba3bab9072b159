"""The component: mentions of a document to concepts of a knowledge base."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate

from ..encoding.linker_encoder import KBEncoder
from ..encoding.upstream import Upstream
from ..model.encoder import EncoderInput, encoder_input
from .annotations import score_copies, set_candidates, set_links
from .checks import warn_of_accumulation, warn_of_unknown_concepts
from .kb_slot import KBSlot
from .ranker_slot import RankerSlot
from .serialisation import (
    pack_parts,
    read_parts,
    rebuild_linker,
    refresh_before_saving,
    unpack_parts,
    write_parts,
)
from .settings import LinkerSettings, make_settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..kb import FaissKnowledgeBase
    from ..training.step import TrainingNames

Candidates = list[tuple[str, float]]


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
    prior_weight (float): Weight of log p(entity | name) in the score that candidates
        are collected by, and that they are ranked by as long as no ranker was fitted.
    use_labels (bool): Whether the ranker may go by the labels of mentions. They must
        then be as good where the pipeline is used as in the training corpus.
    prototype_radius (float): Of the clusters of an entity's training mentions, 0 to 2.
    prototypes_per_entity (int): At most so many clusters.
    memory_weight (float): Weight of the contrast with the memory of all training
        mentions, beside the loss; 0 turns it off.
    memory_scale (float): Of the cosines in that contrast: the inverse of a temperature.
    learn_rate_factor (float): Of the optimizer's learning rate, for the linker's own
        layers; behind a transformer they want longer steps than it does.
    names_per_entity (int): Names of each gold entity in a training step.
    negatives_per_entity (int): Mined names of other entities, for each gold one.
    entity_rows (bool): Whether an entity with a definition gets a row of its own.
    carry_kb (bool): Whether the saved pipeline holds the knowledge base, or its path.
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
        **settings: "Unpack[LinkerSettings]",
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg = make_settings(name, settings)
        # As the config says; settings that differ from it are saved.
        self.configured = dict(self.cfg)
        self.loss = loss
        self.scorer = scorer
        self.kb_slot = KBSlot(name)
        self.ranker_slot = RankerSlot()
        self._upstream = Upstream(self, nlp)
        self.encoder = KBEncoder(model, self._upstream, self.cfg)
        self._training_names: TrainingNames | None = None
        if not Span.has_extension("kb_ents"):
            Span.set_extension("kb_ents", default=[])

    # --- knowledge base ---

    @property
    def kb(self) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): The knowledge base. RAISES (MetricELError): E001 if none is set, E010 if the one that the pipeline points to is gone."""
        return self.kb_slot.require()

    def set_kb(self, kb: "FaissKnowledgeBase | Callable[..., FaissKnowledgeBase]") -> None:
        """Set the knowledge base. Its names are encoded when they are first needed.

        kb (FaissKnowledgeBase | Callable): The knowledge base, or a function that
            takes the vocab and returns it, as spaCy's `set_kb` takes.
        RAISES (MetricELError): E007 for anything else.
        """
        self.kb_slot.fill(kb, self.vocab)
        self._training_names = None

    def load_kb(
        self,
        path: str | Path,
        *,
        reencode: bool = True,
        nlp: Language | None = None,
        progress: bool = True,
        workers: int = 1,
    ) -> None:
        """Open a knowledge base, and make sure that its vectors are this encoder's.

        A fresh encoder is initialized: with a fixed seed, and n-gram weights from the names.

        path (str | Path): A folder made by `spacy metric-el kb build`.
        reencode (bool): Whether to encode the names if the stored vectors are another
            encoder's; the result replaces them if the folder can be written.
        nlp (Language | None): The pipeline that the linker has been moved to.
        progress (bool): Whether to show a progress bar.
        workers (int): Processes that encode names; see `name_workers`.
        RAISES (MetricELError): E005 if the vectors are another encoder's and
            `reencode` is False; E132 to E135 for a damaged folder; E002, E004, E015.
        """
        self._upstream.set_pipeline(nlp)
        how: Any = {"reencode": reencode, "progress": progress, "workers": workers}
        self.set_kb(self.encoder.open_kb(path, **how))

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

    def fit_ranker(
        self,
        nlp: Language,
        get_examples: Callable[[], Iterable[Example]] | None = None,
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
        self._upstream.set_pipeline(nlp)
        self.ranker_slot.fit(self, nlp, get_examples, progress=progress)

    def self_align(self, nlp: Language, **settings: Any) -> float:
        """Learn from the synonyms of the knowledge base; see `self_align`."""
        from ..training.self_align import self_align

        return self_align(nlp, self, **settings)

    def encode_names(self, names: Sequence[str]) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 unit vectors of names."""
        from ..encoding.name_docs import NameText

        if self.kb_slot.kb is not None:
            self.encoder.prepare(self.kb_slot.kb)
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
        ents = [(i, e) for i, doc in enumerate(docs) for e in doc.ents if e.label_ not in discard]
        spans = [(i, ent.start, ent.end) for i, ent in ents]
        labels = [ent.label_ for _, ent in ents]
        found = iter(self.predict_spans(docs, spans, labels=labels, top_k=top_k))
        return [[[] if ent.label_ in discard else next(found) for ent in doc.ents] for doc in docs]

    def predict_spans(
        self,
        docs: Sequence[Doc],
        spans: Sequence[tuple[int, int, int]],
        *,
        labels: Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> list[Candidates]:
        """Find the candidates of any spans, entities or not.

        With a fitted ranker scores are probabilities, and those of a span sum to at
        most 1; without one they are similarities.

        docs (Sequence[Doc]): Documents that have been through the upstream component.
        spans (Sequence[tuple[int, int, int]]): Index of the document, first token,
            last token + 1; those of a document together.
        labels (Sequence[str] | None): Entity labels of the spans, where they have any.
        top_k (int | None): Candidates of each span; the setting `top_k` if None.
        RETURNS (list[Candidates]): For each span concept ids with scores, best first.
        RAISES (MetricELError): E001, E003, and E009 for a span without tokens.
        """
        self._upstream.follow(docs)
        self.refresh_vectors(progress=True)
        if not spans:
            return []
        from ..ranking.retrieval import link_spans

        labels = [""] * len(spans) if labels is None else labels
        return link_spans(self, docs, spans, labels, self.cfg["top_k"] if top_k is None else top_k)

    def encode_spans(
        self, docs: Sequence[Doc], spans: Sequence[tuple[int, int, int]]
    ) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 unit vectors of spans of documents."""
        return self.encode(encoder_input(docs, spans))

    def encode(self, X: EncoderInput) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32 unit vectors of spans with texts of their own."""
        self._upstream.check_states(self.model.get_ref("tok2vec"), X.docs)
        return self.model.ops.to_numpy(self.model.predict(X))

    @property
    def context_width(self) -> int:
        """RETURNS (int): Width of the context channel, the first part of each vector."""
        return self.model.get_ref("head").get_ref("projection").get_dim("nO")

    def set_annotations(self, docs: Sequence[Doc], scores: list[list[Candidates]]) -> None:
        """Write links and candidates.

        docs (Iterable[Doc]): The documents.
        scores (list[list[Candidates]]): As `predict` returns them. Each token of an
            entity gets the best id, or `nil` below the threshold; `span._.kb_ents`
            gets the candidates.
        """
        set_candidates(docs, scores)
        settings = {key: self.cfg[key] for key in ("threshold", "nil", "overwrite")}
        set_links(docs, scores, **settings)

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
        return score_copies(self, examples, **kwargs)

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
        self.ranker_slot.begin(get_examples)
        if kb_loader is not None:
            self.set_kb(kb_loader)
        self._upstream.load_frozen(self.model.get_ref("tok2vec"))
        sample = [example.predicted for example in islice(get_examples(), 10)]
        self.encoder.initialize(sample)
        if self.kb_slot.kb is not None:
            self.encoder.fit(self.kb_slot.kb)
            warn_of_unknown_concepts(self.kb, get_examples(), nil=self.cfg["nil"])
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
        from ..training.step import step_gradients

        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "MetricEntityLinker.update")
        # Without any token the upstream components send nothing to listeners.
        if not any(len(example.predicted) for example in examples):
            return losses
        set_dropout_rate(self.model, drop)
        losses[self.name] += step_gradients(self, examples, self.training_names())
        self.encoder.set_fitted()
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Take a step, `learn_rate_factor` times as long as those of other components."""
        from ..training.step import scaled_learn_rate

        with scaled_learn_rate(sgd, self.cfg["learn_rate_factor"]):
            super().finish_update(sgd)

    # --- storage ---

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the component. The knowledge base goes along, or only its place (`carry_kb`)."""
        exclude = list(exclude)
        refresh_before_saving(self)
        super().to_disk(path, exclude=[*exclude, "cfg"])
        write_parts(self, path, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "MetricEntityLinker":
        """Load the component; the knowledge base is mapped, not read."""
        exclude = list(exclude)
        super().from_disk(path, exclude=[*exclude, "cfg"])
        read_parts(self, path, exclude)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """RETURNS (bytes): The component, with its knowledge base if `carry_kb` is set."""
        exclude = list(exclude)
        refresh_before_saving(self)
        return pack_parts(self, super().to_bytes(exclude=[*exclude, "cfg"]), exclude)

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "MetricEntityLinker":
        """Load the component from what `to_bytes` returned."""
        exclude = list(exclude)
        super().from_bytes(bytes_data, exclude=[*exclude, "cfg"])
        unpack_parts(self, bytes_data, exclude)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {"loss": self.loss, "scorer": self.scorer, **self.cfg}
        learned = self.ranker_slot.state
        parts = (type(self), self.vocab, self.model, self.name, settings, self.kb_slot.kb, learned)
        return (rebuild_linker, parts)

    def training_names(self) -> "TrainingNames":
        """RETURNS (TrainingNames): Those that training steps draw from."""
        from ..training.step import make_training_names

        self._training_names = self._training_names or make_training_names(self)
        return self._training_names
