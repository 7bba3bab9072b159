"""Knowledge bases of many rows, peers, and worker processes: `python -m benchmark.kb.run --help`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from spacy_metric_el.evaluation.report import write_metrics
from spacy_metric_el.kb import FaissKnowledgeBase

from ..options import FIGURES, VECTORS, Folder, Output, Page, Seed, make_app, shows_progress
from ..results import gather_figures

app = make_app(
    "bench-kb",
    "Measure knowledge bases: time to build and load, memory, searches a second, recall.",
)

Kbs = Annotated[list[Path], typer.Argument(help="Knowledge bases whose names are taken")]

COLUMNS: dict[str, Callable[[dict], str]] = {
    "names": lambda x: f"{x['names']:,}",
    "index": lambda x: str(x.get("index", "")),
    "build s": lambda x: _number(x.get("build_seconds", x.get("index_seconds")), 1),
    "load s": lambda x: _number(x.get("load_seconds"), 2),
    "loaded MiB": lambda x: _number(x.get("loaded_mib")),
    "searched MiB": lambda x: _number(x.get("searched_mib")),
    "disk MiB": lambda x: _number(x.get("disk_mib")),
    "searches/s": lambda x: _number(x.get("searches_per_second")),
    "mentions/s": lambda x: _number(x.get("candidates_per_second")),
    "recall@1": lambda x: _number(x.get("recall_at_1"), 3),
    "recall@64": lambda x: _number(x.get("recall_at_64"), 3),
    "accuracy": lambda x: _number(x.get("acc"), 3),
    "note": lambda x: str(x.get("note", "")),
}


@app.command("rows")
def rows_cli(
    kbs: Kbs,
    n: Annotated[int, typer.Option("--rows", min=100, help="Rows of the index")] = 1_000_000,
    encoder: Annotated[
        str, typer.Option(help="minilm, or surface: this project's own channel, untrained")
    ] = "surface",
    width: Annotated[int, typer.Option(min=2, help="Of the vectors; MiniLM's are cut")] = 384,
    queries: Annotated[
        int, typer.Option(min=1, help="Names that are left out, to search with")
    ] = 10_000,
    index: Annotated[
        str, typer.Option(help="FAISS factory string; the one for so many rows if empty")
    ] = "",
    exact: Annotated[bool, typer.Option(help="Whether to compare with exact search")] = True,
    cache: Annotated[Path, typer.Option(help="Folder that keeps the vectors")] = VECTORS,
    output: Output = FIGURES / "kb",
    seed: Seed = 0,
) -> None:
    """
    Index the names of knowledge bases, and search them with names that were left out.
    Where they are too few, names are made of two real ones, and their vectors of both,
    unless the surface channel encodes them.

    \b
    EXAMPLES
    $ python -m benchmark.kb.run rows project/kb/bc5cdr project/kb/medmentions --encoder minilm
    $ python -m benchmark.kb.run rows project/kb/bc5cdr --rows 10000000 --encoder minilm --width 192
    """
    from .encoding import SURFACE, all_rows, cut, encode_names, make_encoder
    from .measure import measure_rows
    from .names import make_names

    progress = shows_progress()
    names = make_names(map(names_of, kbs), n, queries=queries, seed=seed)
    encode, what = make_encoder(encoder, names.indexed[: names.n_real], width)
    asked = cut(encode_names(encode, what, names.queries, cache, progress=progress), width)
    rows = all_rows(names, encode, what, width, cache, progress=progress)
    settings = {"factory": index, "exact": exact, "folder": cache}
    settings["by_surface"] = encoder == SURFACE
    found = measure_rows(names.indexed, rows, asked, names.queries, **settings)
    found |= {"encoder": what, "real_names": names.n_real, "queries": len(asked)}
    write_figures(output, f"rows-{n}-{encoder}" + ("-asked" if index else ""), found)


@app.command("peers")
def peers_cli(
    kb: Annotated[Path, typer.Argument(help="Knowledge base whose names are taken")],
    test: Annotated[Path, typer.Argument(help="PubTator file with gold mentions")],
    names: Annotated[int, typer.Option(min=0, help="Names to take; 0 for all")] = 20_000,
    scispacy: Annotated[bool, typer.Option(help="Whether to measure scispaCy, too")] = True,
    max_minutes: Annotated[float, typer.Option(help="What scispaCy's index may take")] = 30.0,
    output: Output = FIGURES / "kb",
    seed: Seed = 0,
) -> None:
    """
    Find candidates of gold mentions among the same names: scispaCy's generator with the
    index that it builds, and this project's linker, untrained.

    \b
    EXAMPLES
    $ python -m benchmark.kb.run peers project/kb/bc5cdr project/corpus/bc5cdr/dev.pubtator
    $ python -m benchmark.kb.run peers project/kb/bc5cdr project/corpus/bc5cdr/dev.pubtator --names 0 --no-scispacy
    """
    from .peers import compare_peers

    opened = open_kb(kb)
    found = compare_peers(
        opened, test, names, max_minutes=max_minutes, seed=seed, with_scispacy=scispacy
    )
    for linker, figures in found:
        write_figures(output, f"peers-{names or 'all'}-{linker}", figures)


@app.command("workers")
def workers_cli(
    kb: Annotated[Path, typer.Argument(help="Knowledge base whose names are taken")],
    n_process: Annotated[int, typer.Option("--n-process", min=1, help="Worker processes")] = 4,
    mentions: Annotated[int, typer.Option(min=256, help="Mentions that are linked")] = 20_000,
    output: Output = FIGURES / "kb",
) -> None:
    """
    Link in worker processes, and add up the memory of all of them, shared pages in
    parts: with the knowledge base, and with one of a few names in its place.

    \b
    EXAMPLES
    $ python -m benchmark.kb.run workers project/kb/bc5cdr --n-process 4
    """
    from .workers import measure_workers

    found = measure_workers(open_kb(kb), n_process, n_mentions=mentions)
    write_figures(output, f"workers-{n_process}", found)


@app.command("table")
def table_cli(
    folder: Folder = FIGURES / "kb",
) -> None:
    """
    Write FOLDER.json and FOLDER.md from the figures in FOLDER, and print them.

    \b
    EXAMPLES
    $ python -m benchmark.kb.run table
    """
    found = gather_figures(folder)
    lines = [
        [name, *(column(figures) for column in COLUMNS.values())]
        for name, figures in found.items()
        if "workers" not in figures
    ]
    page = Page(folder.with_suffix(".md"))
    page.table("Knowledge bases", ["row", *COLUMNS], lines)
    for name, x in found.items():
        if "workers" in x:
            page.text(
                f"{name}: a knowledge base of {x['names']:,} names adds {x['one_mib']:,.0f} MiB to"
                f" one process, {x['all_mib']:,.0f} MiB to it and its {x['workers']} workers."
            )
    page.write()


def open_kb(path: Path) -> FaissKnowledgeBase:
    """RETURNS (FaissKnowledgeBase): A knowledge base, by its folder."""
    return FaissKnowledgeBase.from_disk(path)


def names_of(path: Path) -> list[str]:
    """RETURNS (list[str]): The names of a knowledge base, as written."""
    return open_kb(path).records.name_texts()


def write_figures(output: Path, name: str, figures: dict[str, Any]) -> None:
    """Write the figures of a row, and show them."""
    write_metrics(output / f"{name}.json", figures)
    shown = {
        key: f"{value:,.3f}" if isinstance(value, float) else value
        for key, value in figures.items()
    }
    msg.table(shown, title=name)
    msg.good(f"Wrote {output / name}.json")


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    app()
