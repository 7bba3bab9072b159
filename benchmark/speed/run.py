"""Pipelines with a linker and without: `python -m benchmark.speed.run --help`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from spacy_metric_el.evaluation.report import write_metrics

from ..mentions import read_corpus
from ..options import FIGURES, Folder, Output, Page, find_test, make_app, shows_progress
from ..results import gather_figures
from ..task import Task

app = make_app("bench-speed", "Measure what linking adds to pipelines.")

Kb = Annotated[Path, typer.Argument(help="Folder of the knowledge base")]
Train = Annotated[Path, typer.Argument(help="PubTator file of the training mentions")]
NAMES, TRAINING, PRECISION = "names", "training", "precision"
OTHERS = (NAMES, TRAINING, PRECISION)
"""Files of figures that are no pipelines."""

HEADER = (
    "pipeline",
    "documents/s",
    "with the linker",
    "share",
    "us a mention",
    "share with scispaCy",
    "us a mention",
    "times faster",
)
PRECISIONS = ("mentions", "float32, % right", "bfloat16", "% linked alike", "times faster")


@app.command("pipelines")
def pipelines_cli(
    kb: Kb,
    train: Train,
    dev: Annotated[str, typer.Option(help="File to link; dev.pubtator beside TRAIN if empty")] = "",
    docs: Annotated[int, typer.Option(min=1, help="Documents to link")] = 60,
    train_docs: Annotated[
        int, typer.Option(min=1, help="Training documents to fit rankers to")
    ] = 50,
    only: Annotated[
        list[str] | None, typer.Option(help="Pipelines to measure; all of them, if not given")
    ] = None,
    scispacy: Annotated[bool, typer.Option(help="Whether to measure scispaCy, too")] = True,
    output: Output = FIGURES / "speed",
) -> None:
    """
    Link documents whose entities are given, in pipelines that differ in their encoder:
    hash-embed-cnn, minilm, minilm-bfloat16, bert-base, bert-base-bfloat16. All on one
    thread; scispaCy's generator searches its vectors exactly.

    \b
    EXAMPLES
    $ python -m benchmark.speed.run pipelines project/kb/medmentions project/corpus/medmentions/train.pubtator
    $ python -m benchmark.speed.run pipelines project/kb/ncbi project/corpus/ncbi/train.pubtator --only minilm
    """
    from .encoders import ENCODERS
    from .pipelines import measure_pipeline

    task = Task(kb, train, train_limit=train_docs, progress=shows_progress())
    corpus = read_corpus(task.nlp, find_test(dev, train), limit=docs, abbreviations=False)
    peer: Any = None
    if scispacy:
        from ..rows.scispacy_linker import ScispacyRow

        peer = ScispacyRow()
        peer.train(task)
    for encoder in only or ENCODERS:
        write_metrics(output / f"{encoder}.json", measure_pipeline(task, corpus, encoder, peer))
        msg.good(f"Wrote {output / encoder}.json")


@app.command("names")
def names_cli(
    kb: Kb,
    train: Train,
    names: Annotated[int, typer.Option(min=1, help="Names to encode")] = 5_000,
    output: Output = FIGURES / "speed",
) -> None:
    """
    Encode names of a knowledge base through MiniLM, as a build does it where names have a
    context channel, and the same batches by transformers alone.

    \b
    EXAMPLES
    $ python -m benchmark.speed.run names project/kb/medmentions project/corpus/medmentions/train.pubtator
    """
    from .names import measure_names

    write_metrics(output / f"{NAMES}.json", measure_names(Task(kb, train), names))
    msg.good(f"Wrote {output / NAMES}.json")


@app.command("training")
def training_cli(
    kb: Kb,
    train: Train,
    seconds: Annotated[float, typer.Option(min=0, help="What each way may take")] = 90.0,
    output: Output = FIGURES / "speed",
) -> None:
    """
    Take training steps with MiniLM: those of configs/minilm.cfg, and those of the
    published method, which encodes each mention by itself, and 64 candidates of each
    entity of a document anew.

    \b
    EXAMPLES
    $ python -m benchmark.speed.run training project/kb/medmentions project/corpus/medmentions/train.pubtator
    """
    from .training import measure_training

    figures = measure_training(Task(kb, train, progress=shows_progress()), seconds=seconds)
    write_metrics(output / f"{TRAINING}.json", figures)
    msg.good(f"Wrote {output / TRAINING}.json")


@app.command("precision")
def precision_cli(
    kb: Kb,
    train: Train,
    model: Annotated[
        str, typer.Option(help="Trained pipeline with a transformer; MiniLM and a ranker if empty")
    ] = "",
    dev: Annotated[str, typer.Option(help="File to link; dev.pubtator beside TRAIN if empty")] = "",
    docs: Annotated[int, typer.Option(min=0, help="Documents to link; 0 for all")] = 0,
    output: Output = FIGURES / "speed",
) -> None:
    """
    Link documents with the same transformer in float32 and in bfloat16.

    \b
    EXAMPLES
    $ python -m benchmark.speed.run precision project/kb/bc5cdr project/corpus/bc5cdr/train.pubtator
    $ python -m benchmark.speed.run precision project/kb/bc5cdr project/corpus/bc5cdr/train.pubtator \\
        --model project/training/bc5cdr/model-best
    """
    from .precision import measure_precision

    task = Task(kb, train, progress=shows_progress())
    corpus = read_corpus(task.nlp, find_test(dev, train), limit=docs, abbreviations=False)
    write_metrics(output / f"{PRECISION}.json", measure_precision(task, corpus, model))
    msg.good(f"Wrote {output / PRECISION}.json")


@app.command("table")
def table_cli(
    folder: Folder = FIGURES / "speed",
) -> None:
    """
    Write FOLDER.json and FOLDER.md from the figures in FOLDER, and print them.

    \b
    EXAMPLES
    $ python -m benchmark.speed.run table
    """
    found = gather_figures(folder)
    pipelines = [figures for name, figures in found.items() if name not in OTHERS]
    page = Page(folder.with_suffix(".md"))
    page.table("Pipelines with a linker and without", HEADER, [_line(x) for x in pipelines])
    page.table("Where linking spends its time, %", *_stage_lines(pipelines))
    page.table("Per second", ("what", "ours", "otherwise", "ratio"), _rate_lines(found))
    page.table("The same transformer in both precisions", PRECISIONS, _precision_lines(found))
    page.write()


def _stage_lines(pipelines: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """RETURNS (tuple[list[str], list[list[str]]]): The header, and a line a pipeline: the share of each stage."""
    timed = [figures for figures in pipelines if figures.get("stages")]
    names = list(dict.fromkeys(name for figures in timed for name in figures["stages"]))
    lines = []
    for figures in timed:
        stages = figures["stages"]
        whole = sum(stages.values())
        shares = [f"{100 * stages.get(name, 0.0) / whole:.0f}" for name in names]
        lines.append([figures["encoder"], *shares])
    return ["pipeline", *names], lines


def _rate_lines(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    lines = []
    if x := found.get(NAMES):
        rates = [x["names"] / x[f"{way}_seconds"] for way in ("ours", "plain")]
        lines.append(_rates("names encoded; plain transformers", *rates))
    if x := found.get(TRAINING):
        rates = [x[f"{way}_mentions"] / x[f"{way}_seconds"] for way in ("ours", "published")]
        lines.append(_rates("mentions trained on; the published method's way", *rates))
    return lines


def _precision_lines(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    if not (x := found.get(PRECISION)):
        return []
    return [
        [
            f"{x['mentions']:,}",
            *(f"{100 * x[f'{precision}_accuracy']:.2f}" for precision in ("float32", "bfloat16")),
            f"{100 * x['same']:.2f}",
            f"{x['float32_seconds'] / x['bfloat16_seconds']:.1f}",
        ]
    ]


def _rates(what: str, ours: float, other: float) -> list[str]:
    return [what, f"{ours:,.1f}", f"{other:,.1f}", f"{ours / other:.2f}"]


def _line(x: dict[str, Any]) -> list[str]:
    encoding, linking = x["encoding_seconds"], x["linking_seconds"]
    line = [
        x["encoder"],
        f"{x['documents'] / encoding:,.1f}",
        f"{x['documents'] / (encoding + linking):,.1f}",
        f"{encoding / (encoding + linking):.2f}",
        f"{1e6 * linking / x['mentions']:,.0f}",
    ]
    if "peer_seconds" not in x:
        return [*line, "-", "-", "-"]
    peer = x["peer_seconds"]
    return [
        *line,
        f"{encoding / (encoding + peer):.2f}",
        f"{1e6 * peer / x['mentions']:,.0f}",
        f"{peer / linking:.1f}",
    ]


if __name__ == "__main__":
    app()
