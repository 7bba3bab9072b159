"""All rows of a benchmark, each in a process of its own: `python -m benchmark.all --help`."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import srsly
import typer
from wasabi import msg

from .options import (
    CONFIGS,
    FIGURES,
    VECTORS,
    Config,
    CorpusName,
    KbFolder,
    Minutes,
    Output,
    Steps,
    TestFile,
    TrainFile,
    find_test,
    make_app,
)

app = make_app("bench-all", "Measure all rows of a benchmark, one after another.")

Again = Annotated[bool, typer.Option("--again", help="Also those that have figures")]
Kb = Annotated[Path, typer.Argument(help="Folder of the knowledge base")]
SEEDS = 3


class Line(NamedTuple):
    """A process that measures.

    figures (str): The file that it writes, without its ending.
    arguments (list[str]): Of `python -m`.
    """

    figures: str
    arguments: list[str]


@app.command("rows")
def rows_cli(
    corpus: CorpusName,
    kb: KbFolder,
    train: TrainFile,
    dev: TestFile = "",
    output: Output = FIGURES / "benchmark",
    config: Config = CONFIGS / "cnn.cfg",
    transformer_config: Annotated[
        Path, typer.Option(help="Config of the linker that is trained with three seeds")
    ] = CONFIGS / "minilm.cfg",
    steps: Steps = 0,
    peer_minutes: Minutes = 5.0,
    published_minutes: Minutes = 30.0,
    again: Again = False,
) -> None:
    """
    Measure all linkers on a corpus, and set them side by side.

    \b
    EXAMPLES
    $ python -m benchmark.all rows bc5cdr --kb project/kb/bc5cdr \\
        --train project/corpus/bc5cdr/train.pubtator --steps 150
    """
    files = [corpus, f"--kb={kb}", f"--train={train}", f"--dev={dev}", f"--output={output}"]
    peer, published = f"{peer_minutes:g}", f"{published_minutes:g}"

    def line(figures: str, row: str, *options: str) -> Line:
        return Line(figures, ["benchmark.run", row, *files, *options])

    lines = [
        line("exact", "exact"),
        line("scispacy", "scispacy"),
        line("spacy-entity-linker", "spacy-entity-linker", "--budget-minutes", peer),
        line("sapbert-style", "sapbert-style", f"--cache={VECTORS}"),
        line("sapbert-style-aligned", "sapbert-style", "--align-minutes", peer),
    ]
    for encoder in ("cnn", "minilm"):
        options = ["--encoder", encoder, "--budget-minutes", published]
        lines.append(line(f"published-{encoder}", "published", *options))
    for row in ("ours-untrained", "ours-ranked", "ours-trained"):
        options = [f"--steps={steps}"] if row == "ours-trained" else []
        lines.append(line(row, row, f"--config={config}", *options))
    for seed in map(str, range(SEEDS)):
        options = [f"--config={transformer_config}", "--name=ours-minilm", f"--steps={steps}"]
        options += ["--seed", seed]
        lines.append(line(f"ours-minilm-seed{seed}", "ours-trained", *options))
    table = ["benchmark.run", "table", corpus, f"--folder={output}"]
    run_lines(lines, output / corpus, table, again=again)


@app.command("kb")
def kb_cli(
    kb: Kb,
    test: Annotated[Path, typer.Argument(help="PubTator file with gold mentions")],
    output: Output = FIGURES / "kb",
    rows: Annotated[int, typer.Option(min=100, help="Of the large index")] = 1_000_000,
    ten_million: Annotated[
        bool, typer.Option("--ten-million", help="Also ten million names, 192 wide")
    ] = False,
    scispacy_minutes: Annotated[
        float, typer.Option(min=0.0, help="What scispaCy's own index may take to build")
    ] = 30.0,
    again: Again = False,
) -> None:
    """
    Measure knowledge bases of many names: time, memory and recall.

    \b
    EXAMPLES
    $ python -m benchmark.all kb project/kb/bc5cdr project/corpus/bc5cdr/dev.pubtator
    """

    def line(figures: str, command: str, *options: str) -> Line:
        return Line(figures, ["benchmark.kb.run", command, str(kb), *options, f"--output={output}"])

    def index(n: int, encoder: str, *options: str) -> Line:
        options = (f"--rows={n}", f"--encoder={encoder}", f"--cache={VECTORS}", *options)
        return line(f"rows-{n}-{encoder}", "rows", *options)

    def peers(names: int, figures: str, *options: str) -> Line:
        return line(figures, "peers", str(test), f"--names={names}", *options)

    minutes = f"--max-minutes={scispacy_minutes:g}"
    lines = [
        index(rows, "minilm"),
        index(rows, "surface"),
        *([index(10_000_000, "minilm", "--width=192")] if ten_million else []),
        peers(20_000, "peers-20000-scispacy", minutes),
        peers(100_000, "peers-100000-scispacy", minutes),
        peers(0, "peers-all-ours", "--no-scispacy"),
        line("workers-4", "workers", "--n-process=4"),
    ]
    run_lines(lines, output, ["benchmark.kb.run", "table", f"--folder={output}"], again=again)


@app.command("speed")
def speed_cli(
    kb: Kb,
    train: Annotated[Path, typer.Argument(help="PubTator file of the training mentions")],
    dev: TestFile = "",
    output: Output = FIGURES / "speed",
    again: Again = False,
) -> None:
    """
    Measure what linking adds to pipelines, and what training takes.

    \b
    EXAMPLES
    $ python -m benchmark.all speed project/kb/medmentions \\
        project/corpus/medmentions/train.pubtator
    """
    from .speed.encoders import ENCODERS

    test = f"--dev={find_test(dev, train)}"

    def line(figures: str, command: str, *options: str) -> Line:
        arguments = [str(kb), str(train), *options, f"--output={output}"]
        return Line(figures, ["benchmark.speed.run", command, *arguments])

    lines = [line(encoder, "pipelines", test, f"--only={encoder}") for encoder in ENCODERS]
    lines += [
        line("names", "names"),
        line("training", "training"),
        line("precision", "precision", test),
    ]
    run_lines(lines, output, ["benchmark.speed.run", "table", f"--folder={output}"], again=again)


def run_lines(lines: list[Line], folder: Path, table: list[str], *, again: bool) -> None:
    """Run processes one after another, and the table at the end; those that fail do not stop the others.

    lines (list[Line]): What is measured.
    folder (Path): Of the figures.
    table (list[str]): Arguments of `python -m`.
    again (bool): Also those that have figures.
    RAISES (typer.Exit): With code 1 if any failed.
    """
    failed = []
    for line in lines:
        path = folder / f"{line.figures}.json"
        if not again and has_figures(path):
            msg.info(f"{path} is there: --again measures it again")
        elif run_module(line.arguments):
            failed.append(line.figures)
    if run_module(table):
        failed.append("table")
    if failed:
        msg.fail(f"Failed: {', '.join(failed)}", exits=1)


def has_figures(path: Path) -> bool:
    """RETURNS (bool): Whether a file of figures is there, and not that of a row that could not be run."""
    return path.is_file() and "error" not in srsly.read_json(path)


def run_module(arguments: list[str]) -> int:
    """RETURNS (int): The exit code of `python -m`, with these arguments."""
    msg.divider(" ".join(arguments[1:3]))
    return subprocess.run([sys.executable, "-m", *arguments]).returncode


if __name__ == "__main__":
    app()
