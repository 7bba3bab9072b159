"""What each part of this project's linker is worth: rows with one thing turned off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from wasabi import MarkdownRenderer, msg

from spacy_metric_el.encoding.feeding import feeding_pipes
from spacy_metric_el.evaluation.report import write_metrics
from spacy_metric_el.ranking.document import DOCUMENT_FEATURES
from spacy_metric_el.ranking.prototypes import PROTOTYPE_FEATURES
from spacy_metric_el.ranking.wording import WORDING_FEATURES
from spacy_metric_el.training.fit_ranker import fit_ranker

from . import options
from .errors import BenchmarkError, Errors
from .report import MISSING, comparable, read_rows
from .results import COLUMNS, PREDICTIONS_SUFFIX, paired_difference
from .rows.ours import ConfiguredRow, LinkerRow, OursRow, detectors, linker_block, read_config
from .runner import run_row
from .task import Task, Training

FULL = "full"
FOLDER = "ablation"

PRIOR_FEATURES = (
    "log_prior",
    "log_prior_if_exact",
    "log_link_count",
    "log_entity_count",
    "is_unseen",
    # A similarity times the logarithm of a count.
    "prototype_weight",
)


SILENT_WIDTH = 2
"""Columns of a channel that is to say nothing; an index wants an even number of them."""


@dataclass(frozen=True)
class Ablation:
    """One thing that is turned off.

    title (str): What it is.
    overrides (Mapping[str, Any]): Of the config: the encoder is trained again.
    cfg (Mapping[str, Any]): Settings of the linker: only the ranker is fitted again.
    evidence (tuple[str, ...]): Features that the ranker does not see.
    detects (bool): Whether abbreviations are looked for.
    ranks (bool): Whether there is a ranker.
    """

    title: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    cfg: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    detects: bool = True
    ranks: bool = True

    @contextmanager
    def applied(self, row: LinkerRow) -> Iterator[None]:
        """Turn it off in a row with a trained encoder, for as long as the context lasts."""
        linker, nlp = row.linker, row.nlp
        before = {key: linker.cfg[key] for key in self.cfg}
        detects, row.detects = row.detects, self.detects
        disabled = [] if self.detects else detectors(nlp)
        try:
            linker.cfg.update(self.cfg)
            with nlp.select_pipes(disable=disabled):
                yield
        finally:
            linker.cfg.update(before)
            row.detects = detects


def ablations(config: Path) -> dict[str, Ablation]:
    """List what can be turned off.

    config (Path): Of the pipeline; says whether names have a context channel.
    RETURNS (dict[str, Ablation]): By the names of their rows; those that train the
        encoder again come last.
    """
    settings = read_config(config)
    block = settings["components"][linker_block(settings).removeprefix("components.")]
    has_name_context = bool(block["model"].get("name_context", True))
    names = "names without a context channel" if has_name_context else "names in their context"
    return {
        FULL: Ablation("everything"),
        "ranker": Ablation("no ranker: similarity and prior alone", ranks=False),
        "prototypes": Ablation(
            "no prototypes of training mentions",
            evidence=(*PROTOTYPE_FEATURES, "prototype_weight", "prototype_gap"),
        ),
        "document": Ablation("no evidence of the document", evidence=DOCUMENT_FEATURES),
        "wording": Ablation("no comparison of words", evidence=WORDING_FEATURES),
        "priors": Ablation(
            "no priors and counts", evidence=PRIOR_FEATURES, cfg={"prior_weight": 0.0}
        ),
        "radius": Ablation("one prototype an entity", cfg={"prototypes_per_entity": 1}),
        "abbreviations": Ablation("no abbreviation detector", detects=False),
        "labels": Ablation("gold types told: an upper bound", cfg={"use_labels": True}),
        "memory": Ablation("no memory of mentions", {"linker.memory_weight": 0.0}),
        "negatives": Ablation("no mined negatives", {"linker.negatives_per_entity": 0}),
        "clusters": Ablation(
            "no documents brought together for their entities", {"training.batcher.partners": 0}
        ),
        "context": Ablation(
            f"a context channel of {SILENT_WIDTH} columns",
            {"linker.model.context_width": SILENT_WIDTH},
        ),
        "surface": Ablation(
            f"names by their context, a surface channel of {SILENT_WIDTH} columns",
            {
                "linker.model.name_context": True,
                "linker.model.surface_width": SILENT_WIDTH,
                "linker.model.context_share": 0.9,
            },
        ),
        "name-context": Ablation(names, {"linker.model.name_context": not has_name_context}),
    }


class RefittedRow:
    """A row with a trained encoder, whose ranker is fitted again with one thing off.

    row (LinkerRow): Trained.
    get_examples (Callable): Returns the training documents.
    name (str): Of this row.
    ablation (Ablation): What is off; its context is that of training and linking.
    """

    def __init__(self, row: LinkerRow, get_examples: Any, name: str, ablation: Ablation) -> None:
        self.row, self.get_examples, self.ablation = row, get_examples, ablation
        self.name, self.depth = name, row.depth
        self.settings = {**row.settings, "ablation": ablation.title, "refitted": True}

    @property
    def gives_probabilities(self) -> bool:
        """RETURNS (bool): Whether there is a ranker."""
        return self.row.gives_probabilities

    def train(self, task: Task) -> Training:
        """Fit the ranker."""
        started = perf_counter()
        # The notes are those of this row alone.
        self.notes = self.row.notes = []
        linker, ranker = self.row.linker, None
        if self.ablation.ranks:
            feeds = feeding_pipes(self.row.nlp, linker.model)
            linked = linker.kb, linker.encoder, feeds, self.get_examples, linker.settings
            ranker = fit_ranker(*linked, hidden=self.ablation.evidence)
        linker.set_ranker(ranker)
        return Training(seconds=perf_counter() - started)

    def link(self, corpus: Any, *, top_k: int) -> list:
        """RETURNS (list[Candidates]): As the row links."""
        return self.row.link(corpus, top_k=top_k)

    def link_with_long_forms(self, corpus: Any, *, top_k: int) -> list:
        """RETURNS (list[Candidates]): As the row links."""
        return self.row.link_with_long_forms(corpus, top_k=top_k)


def run_ablations(
    task: Task,
    chosen: Mapping[str, Ablation],
    *,
    config: Path,
    model: str = "",
    overrides: Mapping[str, Any] | None = None,
    corpus: str,
    test: Path,
    output: Path,
    limit: int = 0,
) -> None:
    """Run rows with one thing turned off, and write their figures.

    Those that leave the encoder as it is share one; each fits a ranker of its own.

    task (Task): Knowledge base, training corpus and seed.
    chosen (Mapping[str, Ablation]): What to turn off, by the names of the rows.
    config (Path): Of the pipeline.
    model (str): A pipeline that was trained before, in place of the shared encoder.
    overrides (Mapping[str, Any] | None): Of the config, for all rows.
    corpus (str): What the corpus is called.
    test (Path): The file to measure on.
    output (Path): `<output>/<corpus>/ablation` gets the files.
    limit (int): Take only so many documents of the file; 0 for all.
    """
    place: dict[str, Any] = {"corpus": corpus, "test": test, "output": output, "limit": limit}
    refitted = {name: ablation for name, ablation in chosen.items() if not ablation.overrides}
    if refitted:
        row: LinkerRow = (
            OursRow(model) if model else ConfiguredRow(config, "trained", overrides=overrides)
        )
        row.train(task)
        get_examples = training_documents(row, task)
        for name, ablation in refitted.items():
            with ablation.applied(row):
                again = RefittedRow(row, get_examples, name, ablation)
                run_row(again, task, subfolder=FOLDER, **place)
            msg.good(f"{name}: {ablation.title}")
        del row
    for name, ablation in chosen.items():
        if ablation.overrides:
            both = {**(overrides or {}), **ablation.overrides}
            retrained = ConfiguredRow(config, "trained", name=name, overrides=both)
            retrained.settings["ablation"] = ablation.title
            run_row(retrained, task, subfolder=FOLDER, **place)
            msg.good(f"{name}: {ablation.title}")


def training_documents(row: LinkerRow, task: Task) -> Any:
    """RETURNS (Callable): Returns the training documents, for a pipeline of any origin."""
    from spacy_metric_el.corpus.readers import PubTatorCorpus

    corpus = PubTatorCorpus(task.train_path, limit=task.train_limit)
    return lambda: corpus(row.nlp)


def render(corpus: str, rows: Mapping[str, dict[str, Any]], folder: Path) -> tuple[str, dict]:
    """Lay the rows out in Markdown, the most harmful ones last.

    corpus (str): What the corpus is called.
    rows (Mapping[str, dict[str, Any]]): All rows.
    folder (Path): Their predictions.
    RETURNS (tuple[str, dict]): The page, and by row and column the paired difference to
        the full linker.
    """
    names = sorted(comparable(rows), key=lambda name: -rows[name][COLUMNS["on"]]["acc"])
    names.sort(key=lambda name: name != FULL)
    differences: dict[str, dict[str, Any]] = {}
    if FULL in names:
        for name in names:
            if name != FULL:
                paths = [folder / f"{row}{PREDICTIONS_SUFFIX}" for row in (name, FULL)]
                differences[name] = {x: paired_difference(*paths, x) for x in COLUMNS}
    header = ["row", "what is different", "long forms", "to full", "95 % interval", "as written"]
    header += ["to full", "recall@64", "ECE", "unseen name", "training"]
    lines = [_line(name, rows[name], differences.get(name)) for name in names]
    page = MarkdownRenderer()
    page.add(page.title(2, f"{corpus}: ablations"))
    page.add(page.table(lines, header=header, aligns=["l", "l", *"r" * (len(header) - 2)]))
    return page.text, differences


def _line(name: str, measures: Mapping[str, Any], differences: Mapping[str, Any] | None) -> list:
    on, off = measures[COLUMNS["on"]], measures[COLUMNS["off"]]
    apart, interval = {"on": MISSING, "off": MISSING}, MISSING
    if differences is not None:
        apart = {x: f"{100 * differences[x]['difference']:+.1f}" for x in COLUMNS}
        low, high = differences["on"]["interval"]
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
    training = measures["training"]
    return [
        name,
        measures["settings"].get("ablation", MISSING),
        f"{100 * on['acc']:.1f}",
        apart["on"],
        interval,
        f"{100 * off['acc']:.1f}",
        apart["off"],
        f"{100 * on['recall_at_64']:.1f}",
        f"{100 * on['calibration']['ece']:.1f}" if measures["probabilities"] else MISSING,
        f"{100 * on['slices']['unseen_name']['acc']:.1f}",
        f"{training['build_seconds'] + training['seconds']:,.0f} s",
    ]


def main(
    corpus: options.CorpusName,
    kb: options.KbFolder,
    train: options.TrainFile,
    dev: options.TestFile = "",
    config: options.Config = options.CONFIGS / "cnn.cfg",
    only: Annotated[
        list[str] | None, typer.Option(help="Rows to run; all of them, if not given")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Pipeline trained before, for the rows that share an encoder")
    ] = "",
    output: options.Output = options.FIGURES / "benchmark",
    limit: options.Limit = 0,
    train_limit: options.TrainLimit = 0,
    steps: options.Steps = 0,
    override: options.Override = None,
    seed: options.Seed = 0,
) -> None:
    """
    Turn off one part of this project's linker after the other.

    Rows are written to OUTPUT/CORPUS/ablation, the table of all that are there to
    OUTPUT/CORPUS-ablation.md and .json. Rows that concern the ranker alone share one
    trained encoder: full, ranker, prototypes, document, wording, priors, radius,
    abbreviations, labels. The others train their own: memory, negatives, clusters,
    context, surface, name-context.

    \b
    EXAMPLES
    $ python -m benchmark.run ablate ncbi --kb kb/ncbi --train train.pubtator
    $ python -m benchmark.run ablate ncbi --kb kb/ncbi --train train.pubtator --only full \\
        --only wording --model training/ncbi/model-best
    """
    known = ablations(config)
    for name in only or ():
        if name not in known:
            expected = f"one of {', '.join(known)}"
            raise BenchmarkError(Errors.E410.format(setting="only", value=name, expected=expected))
    run_ablations(
        Task(kb, train, train_limit=train_limit, seed=seed, progress=options.shows_progress()),
        {name: value for name, value in known.items() if not only or name in only},
        config=config,
        model=model,
        overrides=options.read_overrides(override, steps),
        corpus=corpus,
        test=options.find_test(dev, train),
        output=output,
        limit=limit,
    )
    folder = output / corpus / FOLDER
    rows = read_rows(folder)
    text, differences = render(corpus, rows, folder)
    typer.echo(text)
    place = output / f"{corpus}-ablation.md"
    place.write_text(text + "\n", encoding="utf8")
    table = {"corpus": corpus, "rows": rows, "differences": differences}
    write_metrics(place.with_suffix(".json"), table)
    msg.good(f"Wrote {place} and .json")
