"""The rows of the table, one command each, and the table: `python -m benchmark.run --help`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from . import ablation, report
from .options import (
    CONFIGS,
    FIGURES,
    Config,
    CorpusName,
    KbFolder,
    Limit,
    Minutes,
    Name,
    Output,
    Override,
    RowSeed,
    Steps,
    TestFile,
    TrainFile,
    TrainLimit,
    find_test,
    make_app,
    read_overrides,
    shows_progress,
    with_options,
)
from .results import COLUMNS
from .runner import run_row
from .task import Row, Task

app = make_app(
    "benchmark", "Measure linkers on the same knowledge base and the same gold mentions."
)
app.command("ablate")(ablation.main)
app.command("table")(report.main)

Model = Annotated[str, typer.Option(help="Folder of a BERT; if not given, all-MiniLM-L6-v2")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16, or auto: the faster one here")]


def measure(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES / "benchmark",
    limit: Limit = 0,
    train_limit: TrainLimit = 0,
    seed: RowSeed = None,
    name: Name = "",
    *,
    row: Row,
) -> None:
    """Run a row and print its figures."""
    row.name = (name or row.name) + ("" if seed is None else f"-seed{seed}")
    task = Task(kb, train, train_limit=train_limit, seed=seed or 0, progress=shows_progress())
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
        interval = f"{100 * scores['acc']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        lines += [
            (f"Accuracy, {title}", interval),
            ("In KB, recall@5, recall@64, MRR", "  ".join(f"{100 * x:.1f}" for x in shares)),
        ]
    msg.table(lines, max_col=70)
    msg.good(f"Wrote {output / corpus / row.name}.json")


def add_row(name: str, make: Callable[..., Row], example: str = "") -> None:
    """Add the command of a row: its own options, and those that all rows have.

    name (str): Of the command.
    make (Callable): Makes the row from its own options; what it says is the help.
    example (str): Options of an example.
    """
    start = f"$ python -m benchmark.run {name} ncbi --kb kb/ncbi --train train.pubtator"
    text = f"{make.__doc__}\n\n\b\nEXAMPLES\n{start} {example}".rstrip()
    app.command(name, help=text)(with_options(make, measure))


def exact() -> Row:
    """Exact lookup: the most frequent training concept of the lower-cased string, else a
    concept that bears it as a name."""
    from .rows.exact import ExactRow

    return ExactRow()


def scispacy(
    index: Annotated[
        str, typer.Option(help="exact, or hnsw: scispaCy's own, which takes hours to build")
    ] = "exact",
    max_minutes: Annotated[float, typer.Option(help="What building hnsw may take")] = 30.0,
    threads: Annotated[int, typer.Option(min=1, help="That build hnsw")] = 1,
) -> Row:
    """scispaCy: its candidate generator over character 3-grams, and its linker's best
    candidate with the thresholds off."""
    from .rows.scispacy_linker import ScispacyRow

    name = "scispacy" if index == "exact" else f"scispacy-{index}"
    return ScispacyRow(name=name, index=index, max_minutes=max_minutes, threads=threads)


def spacy_entity_linker(
    budget_minutes: Minutes = 5.0,
    vector_width: Annotated[int, typer.Option(min=2, help="Of the entity vectors")] = 64,
) -> Row:
    """spaCy's own `entity_linker`: candidates by exact alias, a learned context vector,
    priors of the training mentions."""
    from .rows.spacy_linker import SpacyRow

    return SpacyRow(budget_minutes=budget_minutes, vector_width=vector_width)


def sapbert_style(
    model: Model = "",
    align_minutes: Annotated[
        float, typer.Option(min=0.0, help="Minutes of self-alignment on synonyms")
    ] = 0.0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps name vectors")] = None,
    precision: Precision = "auto",
) -> Row:
    """Names alone, as SapBERT does it: the nearest name of the mention's string in the
    space of a sentence encoder, as it is or aligned on synonyms first."""
    from .rows.sapbert import SapbertRow

    return SapbertRow(
        name="sapbert-style-aligned" if align_minutes else "sapbert-style",
        model=model,
        align_minutes=align_minutes,
        cache=cache,
        precision=precision,
    )


def published(
    encoder: Annotated[str, typer.Option(help="minilm or cnn")] = "minilm",
    model: Model = "",
    budget_minutes: Minutes = 5.0,
    precision: Precision = "auto",
) -> Row:
    """The published method (Le & Nguyen 2023): two encoders, clusters of an entity's
    mentions in a document, a triplet loss, and re-ranked TF-IDF candidates."""
    from .rows.published import PublishedRow

    return PublishedRow(
        name=f"published-{encoder}",
        encoder=encoder,
        model=model,
        budget_minutes=budget_minutes,
        precision=precision,
    )


def ours(
    model: Annotated[str, typer.Option("--model", help="Pipeline with a metric_entity_linker")],
) -> Row:
    """This project's linker, trained before: `spacy train` makes the pipeline."""
    from .rows.ours import OursRow

    return OursRow(model)


def configured(stage: str, help: str) -> Callable[..., Row]:
    """RETURNS (Callable): Makes the row of a pipeline that is made from a config, and taken to one of `STAGES`."""

    def make(
        config: Config = CONFIGS / "cnn.cfg", steps: Steps = 0, override: Override = None
    ) -> Row:
        from .rows.ours import ConfiguredRow

        return ConfiguredRow(config, stage, overrides=read_overrides(override, steps))

    make.__doc__ = help
    return make


OURS = {
    "untrained": "This project's linker before any training, without a ranker.",
    "ranked": "The untrained encoder, with a ranker fitted to the training mentions.",
    "trained": "All that the config says: `spacy train`, a ranker. Its time is counted.",
}

add_row("exact", exact)
add_row("scispacy", scispacy, "--index hnsw --max-minutes 60")
add_row("spacy-entity-linker", spacy_entity_linker, "--budget-minutes 2")
add_row("sapbert-style", sapbert_style, "--align-minutes 10")
add_row("published", published, "--encoder cnn --budget-minutes 2")
add_row("ours", ours, "--model training/ncbi/model-best")
for stage, help in OURS.items():
    add_row(f"ours-{stage}", configured(stage, help), "--seed 1 --steps 150")

if __name__ == "__main__":
    app()
