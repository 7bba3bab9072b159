"""The rows of a corpus side by side, in Markdown and JSON."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import typer
from wasabi import MarkdownRenderer, msg

from spacy_metric_el.evaluation.report import write_metrics

from .errors import BenchmarkError, Errors
from .options import FIGURES, CorpusName, Folder
from .results import COLUMNS, PREDICTIONS_SUFFIX, paired_difference, read_row

MISSING = "-"
TITLES = {"off": "Abbreviations as written", "on": "Abbreviations as their long forms"}
SHARES = {
    "in KB": "acc_in_kb",
    "recall@5": "recall_at_5",
    "recall@64": "recall_at_64",
    "MRR": "mrr",
}
SLICES = {
    "seen name": "seen_name",
    "unseen name": "unseen_name",
    "seen entity": "seen_entity",
    "unseen entity": "unseen_entity",
}

SEED = re.compile(r"(.+)-seed\d+")
"""Rows that differ in their seed alone."""


def main(
    corpus: CorpusName,
    folder: Folder = FIGURES / "benchmark",
    ours: Annotated[str, typer.Option(help="Name of our row")] = "ours",
    exact: Annotated[str, typer.Option(help="Name of the exact lookup's row")] = "exact",
) -> None:
    """
    Write FOLDER/CORPUS.md and FOLDER/CORPUS.json from the rows in FOLDER/CORPUS.

    The best peer is the most accurate row that is neither ours nor the exact lookup.

    \b
    EXAMPLES
    $ python -m benchmark.run table medmentions
    $ python -m benchmark.run table ncbi --folder metrics/test --ours ours-minilm
    """
    rows = read_rows(folder / corpus)
    table = compare(rows, folder / corpus, ours=ours, exact=exact)
    text = render(corpus, table)
    typer.echo(text)
    (folder / f"{corpus}.md").write_text(text + "\n", encoding="utf8")
    write_metrics(folder / f"{corpus}.json", {"corpus": corpus, **table})
    msg.good(f"Wrote {folder / corpus}.md and .json")


def read_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the rows of a corpus.

    folder (Path): Of the corpus.
    RETURNS (dict[str, dict[str, Any]]): Measures by the rows' names, in their order.
    RAISES (MetricELError): E403 if there are none.
    """
    rows = {}
    for path in sorted(folder.glob("*.json")):
        measures = read_row(path)
        rows[measures["row"]] = measures
    if not rows:
        raise BenchmarkError(Errors.E403.format(folder=folder))
    return rows


def comparable(rows: Mapping[str, dict[str, Any]]) -> set[str]:
    """Find the rows that were measured on the same documents: those of the largest measurement.

    rows (Mapping[str, dict[str, Any]]): All rows.
    RETURNS (set[str]): Their names, without those that have no figures.
    """
    sizes = {
        name: (measures["documents"], measures[COLUMNS["off"]]["mentions"], measures["test"])
        for name, measures in rows.items()
        if COLUMNS["off"] in measures
    }
    largest = max(sizes.values(), default=None)
    return {name for name, size in sizes.items() if size == largest}


def best_peer(rows: Mapping[str, dict[str, Any]], column: str, others: set[str]) -> str | None:
    """Find the most accurate peer.

    rows (Mapping[str, dict[str, Any]]): Rows that can be compared.
    column (str): `off` or `on`.
    others (set[str]): Rows that are no peers.
    RETURNS (str | None): Its name, the first of several; None if no peer has figures.
    """
    accuracy = {
        name: measures[COLUMNS[column]]["acc"]
        for name, measures in rows.items()
        if name not in others and COLUMNS[column] in measures
    }
    return max(accuracy, key=accuracy.__getitem__, default=None)


def compare(
    rows: Mapping[str, dict[str, Any]], folder: Path, *, ours: str = "ours", exact: str = "exact"
) -> dict[str, Any]:
    """Find the best peer of each column, and how far ours is from it and from the lookup.

    rows (Mapping[str, dict[str, Any]]): All rows.
    folder (Path): Their predictions.
    ours (str): Name of our row; rows whose names begin with it and a hyphen are ours too.
    exact (str): Name of the exact lookup's row.
    RETURNS (dict[str, Any]): `rows`; `compared`, the names of those that were measured on
        the same documents; `best_peer` and `differences`, by column; `seeds`, as
        `average_seeds` returns them.
    """
    compared = comparable(rows)
    alike = {name: measures for name, measures in rows.items() if name in compared}
    own = [name for name in alike if name == ours or name.startswith(f"{ours}-")]
    peers = {column: best_peer(alike, column, {*own, exact}) for column in COLUMNS}
    differences: dict[str, dict[str, Any]] = {column: {} for column in COLUMNS}
    for column in COLUMNS:
        for name in own:
            for other in dict.fromkeys((exact, peers[column])):
                if other in alike:
                    first, second = (folder / f"{row}{PREDICTIONS_SUFFIX}" for row in (name, other))
                    found = paired_difference(first, second, column)
                    differences[column][f"{name} - {other}"] = found
    return {
        "rows": dict(rows),
        "compared": sorted(compared),
        "best_peer": peers,
        "differences": differences,
        "seeds": average_seeds(alike),
    }


def average_seeds(rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Average rows that differ in their seed alone.

    rows (Mapping[str, dict[str, Any]]): Rows that can be compared.
    RETURNS (dict[str, dict[str, Any]]): By the name without the seed, where there are two
        or more: the `rows`, and by column each measure's `mean` and `deviation` (that of
        a sample); `mentions_per_second` and training `seconds` as means.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in rows:
        if found := SEED.fullmatch(name):
            groups[found[1]].append(name)
    averages: dict[str, dict[str, Any]] = {}
    for base, names in groups.items():
        if len(names) < 2:
            continue
        measures = [rows[name] for name in names]
        averages[base] = {
            "rows": sorted(names),
            "mentions_per_second": fmean(x["mentions_per_second"] for x in measures),
            "seconds": fmean(_seconds(x) for x in measures),
            **{column: _spread([_scores(x, column) for x in measures]) for column in COLUMNS},
        }
    return averages


def _spread(scores: list[dict[str, float | None]]) -> dict[str, dict[str, float]]:
    known: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        for key, value in score.items():
            if value is not None:
                known[key].append(value)
    return {
        key: {"mean": fmean(values), "deviation": stdev(values)}
        for key, values in known.items()
        if len(values) == len(scores)
    }


def _scores(measures: Mapping[str, Any], column: str) -> dict[str, float | None]:
    """RETURNS (dict[str, float | None]): The shares of a row's line; no `ece` where scores are no probabilities."""
    scores = measures[COLUMNS[column]]
    is_calibrated = measures.get("probabilities") and "calibration" in scores
    return {
        "acc": scores["acc"],
        **{key: scores[key] for key in SHARES.values()},
        "ece": scores["calibration"]["ece"] if is_calibrated else None,
        **{key: scores["slices"][key]["acc"] for key in SLICES.values()},
    }


def _seconds(measures: Mapping[str, Any]) -> float:
    return measures["training"]["build_seconds"] + measures["training"]["seconds"]


def render(corpus: str, table: Mapping[str, Any]) -> str:
    """Lay the rows out in Markdown.

    corpus (str): What the corpus is called.
    table (Mapping[str, Any]): As `compare` returns it.
    RETURNS (str): The page: a table a column, differences, and notes.
    """
    page = MarkdownRenderer()
    rows = table["rows"]
    page.add(page.title(2, corpus))
    for column, title in TITLES.items():
        page.add(page.title(3, title))
        peer = table["best_peer"][column]
        lines = [_line(name, rows[name], column, is_best=name == peer) for name in _order(rows)]
        lines += [_mean_line(name, means, column) for name, means in table["seeds"].items()]
        header = ["row", "accuracy", "95 % interval", *SHARES, "ECE", *SLICES]
        header += ["mentions/s", "training"]
        page.add(page.table(lines, header=header, aligns=["l", *"r" * (len(header) - 1)]))
        if found := table["differences"][column]:
            header = ["accuracy of", "difference", "95 % interval", "only first", "only second"]
            lines = [_difference_line(name, values) for name, values in found.items()]
            page.add(page.table(lines, header=header, aligns=["l", *"r" * (len(header) - 1)]))
    page.add(page.list(_notes(rows, set(table["compared"]))))
    return page.text


def _order(rows: Mapping[str, dict[str, Any]]) -> list[str]:
    """RETURNS (list[str]): The rows by accuracy, the lowest first; those without figures last."""

    def place(name: str) -> tuple[bool, float]:
        scores = rows[name].get(COLUMNS["off"])
        return scores is None, scores["acc"] if scores else 0.0

    return sorted(rows, key=place)


def _line(name: str, measures: Mapping[str, Any], column: str, *, is_best: bool) -> list[str]:
    title = f"**{name}** (best peer)" if is_best else name
    scores = measures.get(COLUMNS[column])
    if scores is None:
        return [title, *[MISSING] * (5 + len(SHARES) + len(SLICES))]
    shares = _scores(measures, column)
    return [
        title,
        _percent(shares.pop("acc")),
        _interval(scores["acc_interval"]),
        *map(_percent, shares.values()),
        f"{measures['mentions_per_second']:,.0f}",
        f"{_seconds(measures):,.0f} s",
    ]


def _mean_line(name: str, means: Mapping[str, Any], column: str) -> list[str]:
    shares = {key: values["mean"] for key, values in means[column].items()}
    spread = _percent(means[column]["acc"]["deviation"])
    return [
        f"**{name}** (mean of {len(means['rows'])} seeds ± deviation)",
        f"{_percent(shares['acc'])} ± {spread}",
        MISSING,
        *(_percent(shares.get(key)) for key in (*SHARES.values(), "ece", *SLICES.values())),
        f"{means['mentions_per_second']:,.0f}",
        f"{means['seconds']:,.0f} s",
    ]


def _difference_line(name: str, values: Mapping[str, Any]) -> list[str]:
    counts = [f"{values[key]:,}" for key in ("only_first", "only_second")]
    low, high = values["interval"]
    interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
    return [name, f"{100 * values['difference']:+.1f}", interval, *counts]


def _notes(rows: Mapping[str, dict[str, Any]], compared: set[str]) -> list[str]:
    """RETURNS (list[str]): What the figures were taken on, and each row's own notes."""
    notes = []
    for name in _order(rows):
        measures = rows[name]
        scores = measures.get(COLUMNS["off"], {})
        counts = f"{measures['documents']:,} documents of {Path(measures['test']).name}"
        if scores:
            counts += (
                f", {scores['mentions']:,} mentions with a concept, {100 * scores['in_kb']:.1f} % of "
                f"them in the knowledge base, {measures['short_forms']:,} short forms"
            )
        if scores and name not in compared:
            counts += ", **not those of the other rows**, so it is not compared"
        own = [*measures.get("notes", []), *([measures["error"]] if "error" in measures else [])]
        notes.append(f"{name}: {'; '.join([counts, *own]).rstrip('.')}.")
    return notes


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f}" if value is not None else MISSING


def _interval(bounds: tuple[float, float]) -> str:
    return " to ".join(map(_percent, bounds))
