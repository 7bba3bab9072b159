"""The command line: one command a row."""

import sys
from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from wasabi import msg

from spacy_metric_el.cli._util import CleanErrorsGroup

from .errors import BenchmarkError, Errors
from .results import COLUMNS
from .runner import run_row
from .task import Row, Task

app = typer.Typer(
    name="benchmark",
    help="Measure linkers on the same knowledge base and the same gold mentions.",
    cls=CleanErrorsGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Config = Annotated[Path, typer.Option(help="Config of the pipeline")]
Steps = Annotated[
    int, typer.Option(min=0, help="Of training, with one fit of the ranker; 0: as the config says")
]
Override = Annotated[
    list[str] | None,
    typer.Option(help="KEY=VALUE of the config; `linker.` stands for the linker's block"),
]
CorpusName = Annotated[str, typer.Argument(help="What the corpus is called in the tables")]
KbFolder = Annotated[Path, typer.Option("--kb", help="Knowledge base that all rows link to")]
TrainFile = Annotated[Path, typer.Option("--train", help="PubTator file to learn from")]
TestFile = Annotated[
    str,
    typer.Option("--dev", help="PubTator file to measure on; dev.pubtator beside --train if empty"),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the figures")]
Limit = Annotated[int, typer.Option(min=0, help="Documents to measure on; 0 for all")]
TrainLimit = Annotated[int, typer.Option(min=0, help="Documents to learn from; 0 for all")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn")]
Name = Annotated[str, typer.Option(help="Name of the row; if not given, that of the command")]
Budget = Annotated[float, typer.Option(min=0.0, help="Minutes of training")]

FIGURES = Path("metrics/benchmark")
CONFIG = Path("configs/cnn.cfg")


@app.command("exact")
def exact_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES,
    limit: Limit = 0,
    train_limit: TrainLimit = 0,
    name: Name = "exact",
) -> None:
    """
    Exact lookup: the most frequent training concept of the lower-cased string, else a
    concept that bears it as a name.

    \b
    EXAMPLES
    $ python benchmark/run.py exact ncbi --kb kb/ncbi --train train.pubtator --dev dev.pubtator
    """
    from .rows.exact import ExactRow

    task = Task(kb, train, train_limit=train_limit, progress=shows_progress())
    measure(ExactRow(name=name), task, corpus, dev, output, limit)


@app.command("scispacy")
def scispacy_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES,
    limit: Limit = 0,
    index: Annotated[
        str, typer.Option(help="exact, or hnsw: scispaCy's own, which takes hours to build")
    ] = "exact",
    max_minutes: Annotated[float, typer.Option(help="What building hnsw may take")] = 30.0,
    threads: Annotated[int, typer.Option(min=1, help="That build hnsw")] = 1,
    name: Name = "",
) -> None:
    """
    scispaCy: its candidate generator over character 3-grams, and its linker's best
    candidate with the thresholds off.

    \b
    EXAMPLES
    $ python benchmark/run.py scispacy ncbi --kb kb/ncbi --train train.pubtator --dev dev.pubtator
    $ python benchmark/run.py scispacy ncbi --index hnsw --max-minutes 60 --kb kb/ncbi \\
        --train train.pubtator --dev dev.pubtator
    """
    from .rows.scispacy_linker import ScispacyRow

    row = ScispacyRow(
        name=name or ("scispacy" if index == "exact" else f"scispacy-{index}"),
        index=index,
        max_minutes=max_minutes,
        threads=threads,
    )
    measure(row, Task(kb, train, progress=shows_progress()), corpus, dev, output, limit)


@app.command("spacy-entity-linker")
def spacy_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES,
    limit: Limit = 0,
    train_limit: TrainLimit = 0,
    budget_minutes: Budget = 5.0,
    vector_width: Annotated[int, typer.Option(min=2, help="Of the entity vectors")] = 64,
    seed: Seed = 0,
    name: Name = "spacy-entity-linker",
) -> None:
    """
    spaCy's own `entity_linker`: candidates by exact alias, a learned context vector,
    priors of the training mentions.

    \b
    EXAMPLES
    $ python benchmark/run.py spacy-entity-linker ncbi --budget-minutes 2 --kb kb/ncbi \\
        --train train.pubtator --dev dev.pubtator
    """
    from .rows.spacy_linker import SpacyRow

    row = SpacyRow(name=name, budget_minutes=budget_minutes, vector_width=vector_width)
    task = Task(kb, train, train_limit=train_limit, seed=seed, progress=shows_progress())
    measure(row, task, corpus, dev, output, limit)


@app.command("sapbert-style")
def sapbert_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES,
    limit: Limit = 0,
    model: Annotated[
        str, typer.Option(help="Folder of a BERT; if not given, all-MiniLM-L6-v2")
    ] = "",
    align_minutes: Annotated[
        float, typer.Option(min=0.0, help="Minutes of self-alignment on synonyms")
    ] = 0.0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps name vectors")] = None,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: the faster one here")
    ] = "auto",
    seed: Seed = 0,
    name: Name = "",
) -> None:
    """
    Names alone, as SapBERT does it: the nearest name of the mention's string in the
    space of a sentence encoder, as it is or aligned on synonyms first.

    \b
    EXAMPLES
    $ python benchmark/run.py sapbert-style ncbi --cache cache --kb kb/ncbi \\
        --train train.pubtator --dev dev.pubtator
    $ python benchmark/run.py sapbert-style ncbi --align-minutes 10 --kb kb/ncbi \\
        --train train.pubtator --dev dev.pubtator
    """
    from .rows.sapbert import SapbertRow

    row = SapbertRow(
        name=name or ("sapbert-style-aligned" if align_minutes else "sapbert-style"),
        model=model,
        align_minutes=align_minutes,
        cache=cache,
        precision=precision,
    )
    task = Task(kb, train, seed=seed, progress=shows_progress())
    measure(row, task, corpus, dev, output, limit)


@app.command("published")
def published_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES,
    limit: Limit = 0,
    train_limit: TrainLimit = 0,
    encoder: Annotated[str, typer.Option(help="minilm or cnn")] = "minilm",
    model: Annotated[
        str, typer.Option(help="Folder of a BERT for minilm; if not given, all-MiniLM-L6-v2")
    ] = "",
    budget_minutes: Budget = 5.0,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: the faster one here")
    ] = "auto",
    seed: Seed = 0,
    name: Name = "",
) -> None:
    """
    The published method (Le & Nguyen 2023): two encoders, clusters of an entity's
    mentions in a document, a triplet loss, and re-ranked TF-IDF candidates.

    \b
    EXAMPLES
    $ python benchmark/run.py published ncbi --encoder cnn --budget-minutes 2 --kb kb/ncbi \\
        --train train.pubtator --dev dev.pubtator
    """
    from .rows.published import PublishedRow

    row = PublishedRow(
        name=name or f"published-{encoder}",
        encoder=encoder,
        model=model,
        budget_minutes=budget_minutes,
        precision=precision,
    )
    task = Task(kb, train, train_limit=train_limit, seed=seed, progress=shows_progress())
    measure(row, task, corpus, dev, output, limit)


@app.command("ours")
def ours_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    model: Annotated[str, typer.Option("--model", help="Pipeline with a metric_entity_linker")],
    dev: TestFile = "",
    output: Output = FIGURES,
    limit: Limit = 0,
    name: Name = "ours",
) -> None:
    """
    This project's linker, trained before: `spacy train` makes the pipeline.

    \b
    EXAMPLES
    $ python benchmark/run.py ours ncbi --model training/ncbi/model-best --kb kb/ncbi \\
        --train train.pubtator --dev dev.pubtator
    """
    from .rows.ours import OursRow

    task = Task(kb, train, progress=shows_progress())
    measure(OursRow(model, name=name), task, corpus, dev, output, limit)


def add_stage(stage: str, help: str, example: str = "") -> None:
    """Add the command of a pipeline that is made from a config.

    stage (str): One of `STAGES` of the row.
    help (str): What the row is.
    example (str): Options of a second example.
    """
    command = f"ours-{stage}"
    start = f"$ python benchmark/run.py {command} ncbi"
    files = "--kb kb/ncbi --train train.pubtator"
    examples = "\n".join([f"{start} {files}", *([f"{start} {files} {example}"] * bool(example))])

    @app.command(command, help=f"{help}\n\n\b\nEXAMPLES\n{examples}")
    def stage_cli(
        corpus: CorpusName,
        kb: KbFolder,
        train: TrainFile,
        dev: TestFile = "",
        config: Config = CONFIG,
        output: Output = FIGURES,
        limit: Limit = 0,
        train_limit: TrainLimit = 0,
        steps: Steps = 0,
        override: Override = None,
        seed: Annotated[
            int | None, typer.Option(help="If given, it is part of the row's name")
        ] = None,
        name: Name = "",
    ) -> None:
        from .rows.ours import ConfiguredRow

        suffix = "" if seed is None else f"-seed{seed}"
        overrides = read_overrides(override, steps)
        row = ConfiguredRow(config, stage, name=(name or command) + suffix, overrides=overrides)
        progress = shows_progress()
        task = Task(kb, train, train_limit=train_limit, seed=seed or 0, progress=progress)
        measure(row, task, corpus, dev, output, limit)


add_stage("untrained", "This project's linker before any training, without a ranker.")
add_stage("aligned", "The same, aligned on the synonyms of the knowledge base alone.")
add_stage("ranked", "The untrained encoder, with a ranker fitted to the training mentions.")
add_stage(
    "trained",
    "All that the config says: self-alignment, `spacy train`, a ranker. Its time is counted.",
    "--seed 1 --steps 150",
)


def read_overrides(values: list[str] | None, steps: int = 0) -> dict[str, Any]:
    """Read overrides of a config.

    values (list[str] | None): Each `KEY=VALUE`, the value in JSON or a string.
    steps (int): Of training; 0 for those of the config.
    RETURNS (dict[str, Any]): Values by their dotted names.
    RAISES (MetricELError): E410 for one without a value.
    """
    found: dict[str, Any] = {}
    if steps:
        found = {"training.max_steps": steps, "training.eval_frequency": steps}
    for text in values or ():
        key, is_set, value = text.partition("=")
        if not is_set or "." not in key:
            expected = "KEY=VALUE, with a dotted key"
            message = Errors.E410.format(setting="override", value=text, expected=expected)
            raise BenchmarkError(message)
        try:
            found[key] = srsly.json_loads(value)
        except ValueError:
            found[key] = value
    return found


def find_test(test: str, train: Path) -> Path:
    """RETURNS (Path): The file to measure on: `dev.pubtator` beside the training file, if none is given."""
    return Path(test) if test else train.with_name("dev.pubtator")


def measure(row: Row, task: Task, corpus: str, dev: str, output: Path, limit: int) -> None:
    """Run a row and print its figures."""
    test = find_test(dev, task.train_path)
    measures = run_row(row, task, corpus=corpus, test=test, output=output, limit=limit)
    lines = [
        (f"{row.name} on {corpus}", ""),
        ("Mentions/s", f"{measures['mentions_per_second']:,.0f}"),
    ]
    for title, key in (("abbreviations as written", "off"), ("long forms", "on")):
        scores = measures[COLUMNS[key]]
        low, high = scores["acc_interval"]
        shares = [scores[x] for x in ("acc_in_kb", "recall_at_5", "recall_at_64", "mrr")]
        lines += [
            (
                f"Accuracy, {title}",
                f"{100 * scores['acc']:.1f} ({100 * low:.1f} to {100 * high:.1f})",
            ),
            ("In KB, recall@5, recall@64, MRR", "  ".join(f"{100 * x:.1f}" for x in shares)),
        ]
    msg.table(lines, max_col=70)
    msg.good(f"Wrote {output / corpus / row.name}.json")


def shows_progress() -> bool:
    """RETURNS (bool): Whether a progress bar would be seen."""
    return sys.stderr.isatty()
