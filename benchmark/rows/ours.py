"""This project's linker: a trained pipeline, or one that is made and trained here."""

import sys
from collections.abc import Mapping
from io import StringIO
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_nlp
from spacy.util import load_config, load_model, minibatch
from thinc.api import Config, ConfigValidationError

from spacy_metric_el.encoding.feeding import ABBREVIATION_FACTORIES, feed, feeding_pipes
from spacy_metric_el.encoding.long_forms import long_forms

from ..errors import BenchmarkError, Errors
from ..mentions import Corpus, place_span
from ..names import Candidates
from ..task import TOP_K, Task, Training
from ..wordpieces import local_weights

BATCH_SIZE = 32
"""Documents that go through the pipeline together."""

LINKER_FACTORY = "metric_entity_linker"
DETECTOR = "scispacy_abbreviation_detector"
SEEDED_BATCHER = "spacy_metric_el.ClusterBatcher.v1"

WATCHED = 20
"""Training documents that `spacy train` shows the score of: no others are looked at."""

STAGES = {
    "untrained": "encoder fitted to the names of the knowledge base",
    "ranked": "encoder as untrained, ranker fitted to the training mentions",
    "trained": "all that the config says, by spacy train; the last weights",
}
"""How far a fresh pipeline is taken."""


class LinkerRow:
    """`metric_entity_linker` over the spans of the gold mentions.

    name (str): Of the row.
    settings (dict[str, Any]): What the row was made with.
    """

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self.name = name
        self.settings = settings
        self.notes: list[str] = []
        self.depth = TOP_K
        self.detects = True

    @property
    def gives_probabilities(self) -> bool:
        """RETURNS (bool): Whether there is a ranker, whose scores are probabilities."""
        return self.linker.has_ranker

    def take(self, nlp: Language, source: str | Path) -> None:
        """Use a pipeline.

        nlp (Language): With a linker; gets an abbreviation detector if it has none.
        source (str | Path): Where it comes from.
        RAISES (MetricELError): E409 for a pipeline without a linker.
        """
        pipes = [pipe for _, pipe in nlp.pipeline if hasattr(pipe, "predict_spans")]
        if not pipes:
            raise BenchmarkError(Errors.E409.format(path=source, pipes=", ".join(nlp.pipe_names)))
        self.nlp: Language = nlp
        self.linker: Any = pipes[0]
        # The speed is that of the pipeline as it is; more candidates stand behind these.
        self.depth = min(TOP_K, self.linker.cfg["top_k"])
        if not detectors(nlp):
            nlp.add_pipe(DETECTOR, first=True)
            self.notes.append("the pipeline has no abbreviation detector and was given one")

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention; no abbreviation detector runs."""
        with self.nlp.select_pipes(disable=detectors(self.nlp)):
            pipes = feeding_pipes(self.nlp, self.linker.model)
        return self._link(corpus, pipes, top_k)[0]

    def link_with_long_forms(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention; the detector runs, and the linker reads what it leaves."""
        if not self.detects:
            return self.link(corpus, top_k=top_k)
        pipes = feeding_pipes(self.nlp, self.linker.model)
        found, n_read = self._link(corpus, pipes, top_k)
        note = f"reads {n_read:,} mentions by long forms that it finds itself"
        self.notes += [note] if note not in self.notes else []
        return found

    def _link(self, corpus: Corpus, pipes: list, top_k: int) -> tuple[list[Candidates], int]:
        """RETURNS (tuple[list[Candidates], int]): Candidates, and how many mentions have a long form."""
        by_doc = groupby(corpus.mentions, key=lambda mention: mention.doc)
        found: list[Candidates] = []
        n_read = 0
        for batch in minibatch(((place, list(group)) for place, group in by_doc), BATCH_SIZE):
            docs, spans, labels = [], [], []
            for i, (place, mentions) in enumerate(batch):
                source = corpus.docs[place]
                doc = self.nlp.make_doc(source.text)
                for mention in mentions:
                    tokens = source[mention.start : mention.end]
                    spans.append((i, *place_span(doc, tokens.start_char, tokens.end_char)))
                    labels.append(mention.label)
                docs.append(doc)
            docs = feed(pipes, docs)
            told = {"labels": labels} if self.linker.cfg["use_labels"] else {}
            linked = self.linker.predict_spans(docs, spans, top_k=top_k, **told)
            texts = [docs[i][start:end].text for i, start, end in spans]
            n_read += sum(x != y for x, y in zip(long_forms(docs, spans), texts, strict=True))
            found.extend(
                tuple((str(concept_id), float(score)) for concept_id, score in candidates)
                for candidates in linked
            )
        return found, n_read


class OursRow(LinkerRow):
    """A pipeline that was trained before.

    model (str): Folder or package of the pipeline.
    """

    def __init__(self, model: str, *, name: str = "ours") -> None:
        super().__init__(name, {"model": model})
        self.model = model

    def train(self, task: Task) -> Training:
        """Load the pipeline and the knowledge base, and encode the names."""
        started = perf_counter()
        try:
            nlp = load_model(self.model)
        except OSError as err:
            raise BenchmarkError(Errors.E401.format(path=self.model)) from err
        self.take(nlp, self.model)
        self.linker.load_kb(task.kb_path, nlp=nlp, progress=task.progress)
        self.linker.refresh_vectors()
        self.notes.append("trained by spacy train, whose time is not counted here")
        return Training(build_seconds=perf_counter() - started)


class ConfiguredRow(LinkerRow):
    """A pipeline that is made from a config, and trained as far as wanted.

    `spacy train` chooses among its checkpoints by a corpus that it evaluates on. Here
    nothing is chosen: the last weights count, and it evaluates on a few training documents.

    config (Path): The config.
    stage (str): One of `STAGES`.
    name (str): Of the row.
    overrides (Mapping[str, Any] | None): Values of the config, by their dotted names;
        `linker.` stands for the linker's block.
    """

    def __init__(
        self,
        config: Path,
        stage: str,
        *,
        name: str = "",
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        settings = {"config": str(config), "stage": stage, "overrides": dict(overrides or {})}
        super().__init__(name or f"ours-{stage}", settings)
        self.config, self.stage, self.overrides = config, stage, dict(overrides or {})
        self.notes.append(STAGES[stage])

    def train(self, task: Task) -> Training:
        """Make the pipeline, and let it learn."""
        self.settings["seed"] = task.seed
        started = perf_counter()
        nlp = init_nlp(self.configure(task))
        self.take(nlp, self.config)
        details: dict[str, Any] = {}
        if self.stage in ("untrained", "ranked"):
            self.linker.refresh_vectors()
        build_seconds = perf_counter() - started
        started = perf_counter()
        if self.stage == "trained":
            train_nlp(nlp, None, stdout=sys.stderr if task.progress else StringIO())
            details["max_steps"] = nlp.config["training"]["max_steps"]
        if self.stage == "ranked":
            self.linker.fit_ranker(nlp)
        seconds = perf_counter() - started
        started = perf_counter()
        self.linker.refresh_vectors()
        build_seconds += perf_counter() - started
        return Training(build_seconds, seconds if self.stage != "untrained" else 0.0, details)

    def configure(self, task: Task) -> Config:
        """Read the config for a task.

        task (Task): With knowledge base, training corpus and seed.
        RETURNS (Config): What `spacy train` would be given.
        RAISES (MetricELError): E401 for a missing config, E411 for one that does not fit.
        """
        written = read_config(self.config)
        linker = linker_block(written)
        train = str(task.train_path)
        overrides = {"paths.train": train, "paths.dev": train, "paths.kb": str(task.kb_path)}
        if "transformer" in written["paths"]:
            overrides["paths.transformer"] = local_weights(written["paths"]["transformer"])
        for key, value in self.overrides.items():
            first, _, rest = key.partition(".")
            overrides[f"{linker}.{rest}" if first == "linker" else key] = value
        config = read_config(self.config, overrides)
        config["corpora"]["dev"]["limit"] = WATCHED
        if task.train_limit:
            config["corpora"]["train"]["limit"] = task.train_limit
        batcher = config["training"].get("batcher", {})
        if SEEDED_BATCHER in batcher.values():
            batcher["seed"] = task.seed
        component = config["components"][linker.removeprefix("components.")]
        component["seed"] = component["model"]["seed"] = task.seed
        config["training"]["seed"] = task.seed
        return config


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """RETURNS (Config): A config. RAISES (MetricELError): E401 if it is missing, E411 if it cannot be read."""
    if not path.is_file():
        raise BenchmarkError(Errors.E401.format(path=path))
    try:
        return load_config(path, overrides=dict(overrides or {}))
    except (ConfigValidationError, ValueError) as err:
        reason = " ".join(str(err).split())
        raise BenchmarkError(Errors.E411.format(path=path, reason=reason)) from err


def linker_block(config: Config) -> str:
    """RETURNS (str): The dotted name of the linker's block. RAISES (MetricELError): E409 if there is none."""
    components = config.get("components", {})
    for name, block in components.items():
        if block.get("factory") == LINKER_FACTORY:
            return f"components.{name}"
    raise BenchmarkError(Errors.E409.format(path="config", pipes=", ".join(components)))


def detectors(nlp: Language) -> list[str]:
    """RETURNS (list[str]): The names of the abbreviation detectors of a pipeline."""
    factories = {name: nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    return [name for name, factory in factories.items() if factory in ABBREVIATION_FACTORIES]
