"""The command line: pipelines with a linker and without."""

from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import MarkdownRenderer, msg, table

from spacy_metric_el.cli._util import CleanErrorsGroup
from spacy_metric_el.evaluation.report import write_metrics

from ..cli import find_test, shows_progress
from ..mentions import read_corpus
from ..results import gather_figures
from ..task import Task

app = typer.Typer(
    name="bench-speed",
    help="Measure what linking adds to pipelines.",
    cls=CleanErrorsGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the figures")]
FIGURES = Path("metrics/speed")

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


@app.callback()
def main() -> None:
    """Measure what linking adds to pipelines."""


@app.command("pipelines")
def pipelines_cli(
    kb: Annotated[Path, typer.Argument(help="Folder of the knowledge base")],
    train: Annotated[Path, typer.Argument(help="PubTator file that rankers are fitted to")],
    dev: Annotated[str, typer.Option(help="File to link; dev.pubtator beside TRAIN if empty")] = "",
    docs: Annotated[int, typer.Option(min=1, help="Documents to link")] = 60,
    train_docs: Annotated[int, typer.Option(min=1, help="Documents to fit rankers to")] = 50,
    only: Annotated[
        list[str] | None, typer.Option(help="Pipelines to measure; all of them, if not given")
    ] = None,
    scispacy: Annotated[bool, typer.Option(help="Whether to measure scispaCy, too")] = True,
    output: Output = FIGURES,
) -> None:
    """
    Link documents whose entities are given, in pipelines that differ in their encoder:
    hash-embed-cnn, minilm, minilm-bfloat16, bert-base, bert-base-bfloat16. All on one
    thread; scispaCy's generator searches its vectors exactly.

    \b
    EXAMPLES
    $ python benchmark/speed_run.py pipelines kb/medmentions corpus/medmentions/train.pubtator
    $ python benchmark/speed_run.py pipelines kb/ncbi corpus/ncbi/train.pubtator --only minilm
    """
    from .pipelines import ENCODERS, measure_pipeline

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


@app.command("table")
def table_cli(
    folder: Annotated[Path, typer.Option(help="Folder of the figures")] = FIGURES,
) -> None:
    """
    Write FOLDER.json and FOLDER.md from the figures in FOLDER, and print them.

    \b
    EXAMPLES
    $ python benchmark/speed_run.py table
    """
    found = gather_figures(folder)
    lines = [_line(figures) for figures in found.values()]
    page = MarkdownRenderer()
    page.add(page.title(2, "Pipelines with a linker and without"))
    page.add(page.table(lines, header=HEADER, aligns=["l"] + ["r"] * (len(HEADER) - 1)))
    typer.echo(table(lines, header=HEADER, divider=True))
    folder.with_suffix(".md").write_text(page.text + "\n", encoding="utf8")


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
