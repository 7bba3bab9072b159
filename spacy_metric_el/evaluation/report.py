"""Metrics of several runs side by side, for people and for files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import srsly
from wasabi import table

from ..files import replaced_file

MISSING = "-"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


# Title, path of keys in a run's metrics, how the value is written.
_COLUMNS: tuple[tuple[str, tuple[str, ...], Callable[[float], str]], ...] = (
    ("acc", ("acc",), _percent),
    ("acc in KB", ("acc_in_kb",), _percent),
    ("recall@5", ("recall_at_5",), _percent),
    ("recall@64", ("recall_at_64",), _percent),
    ("MRR", ("mrr",), _percent),
    ("mentions/s", ("mentions_per_second",), _count),
    ("seen name", ("slices", "seen_name", "acc"), _percent),
    ("unseen name", ("slices", "unseen_name", "acc"), _percent),
    ("seen entity", ("slices", "seen_entity", "acc"), _percent),
    ("unseen entity", ("slices", "unseen_entity", "acc"), _percent),
)

_THRESHOLD_COLUMNS = {
    "nil_precision": "NIL P",
    "nil_recall": "NIL R",
    "link_precision": "link P",
    "link_recall": "link R",
    "link_f": "link F",
}
"""Key of a threshold's measures, and its title."""


def format_metrics(rows: Mapping[str, dict[str, Any]]) -> str:
    """Lay runs out as a table for the terminal.

    rows (Mapping[str, dict[str, Any]]): The metrics of each run by its name:
        those of `linking_metrics`, with `mentions_per_second` (float) and
        `slices` (the result of the function of that name) where they are known.
    RETURNS (str): One line a run, shares in percent; what no run has is left out.
    """
    header, body = _cells(rows)
    longest = max(map(len, [*rows, "run"])) + max(map(len, header))
    aligns = ["l", *"r" * (len(header) - 1)]
    return table(body, header=header, divider=True, aligns=aligns, max_col=longest)


def markdown_table(rows: Mapping[str, dict[str, Any]]) -> str:
    """Lay runs out as a table in Markdown.

    rows (Mapping[str, dict[str, Any]]): The metrics of each run, as for `format_metrics`.
    RETURNS (str): The lines of the table.
    """
    header, body = _cells(rows)
    rule = ["---", *["---:"] * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *escaped])


def format_thresholds(nil: Mapping[str, Any]) -> str:
    """Lay out what thresholds do, for the terminal.

    nil (Mapping[str, Any]): The result of `nil_metrics`.
    RETURNS (str): A line for every other threshold, and for the best one; shares in percent.
    """
    rows = [(f"{row['threshold']:.2f}", row) for row in nil["thresholds"][::2]]
    if nil["best"] is not None:
        rows.append((f"best: {nil['best']['threshold']:.6g}", nil["best"]))
    body = [
        [title, _count(row["abstained"]), *(_percent(row[key]) for key in _THRESHOLD_COLUMNS)]
        for title, row in rows
    ]
    header = ["threshold", "abstained", *_THRESHOLD_COLUMNS.values()]
    return table(body, header=header, divider=True, aligns=["l", *"r" * (len(header) - 1)])


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, whole or not at all.

    path (str | Path): The file; its folder is made where it is missing.
    metrics (Mapping[str, Any]): The metrics.
    """
    with replaced_file(Path(path)) as fresh:
        srsly.write_json(fresh, dict(metrics))


def _cells(rows: Mapping[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """RETURNS (tuple[list[str], list[list[str]]]): The header, and the cells of each run."""
    header, columns = ["run"], [list(rows)]
    for title, keys, write in _COLUMNS:
        values = [_find(metrics, keys) for metrics in rows.values()]
        if any(value is not None for value in values):
            header.append(title)
            columns.append([MISSING if value is None else write(value) for value in values])
    return header, [list(line) for line in zip(*columns, strict=True)]


def _find(metrics: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    """RETURNS (Optional[float]): The value under a path of keys; None where it is missing."""
    value: Any = metrics
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value
