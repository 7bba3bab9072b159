"""The files of a row: its measures, and what it predicted for every mention."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly

from spacy_metric_el.evaluation.mentions import LinkedMention, is_right
from spacy_metric_el.evaluation.metrics import average, bootstrap_interval
from spacy_metric_el.evaluation.report import write_metrics

from .errors import BenchmarkError, Errors
from .mentions import Mention
from .names import Candidates

COLUMNS = {"off": "abbreviations_off", "on": "abbreviations_on"}
"""Column of the table, and its key in a row's measures."""

PREDICTIONS_SUFFIX = ".predictions.jsonl.gz"


@dataclass(frozen=True, slots=True)
class PairedMention(LinkedMention):
    """A mention that two rows linked.

    difference (float): 1 where only the first is right, -1 where only the second is.
    """

    difference: float = 0.0


def write_row(
    folder: Path,
    name: str,
    measures: dict[str, Any],
    mentions: Sequence[Mention] = (),
    found: dict[str, Sequence[Candidates]] | None = None,
) -> Path:
    """Write `<name>.json`, and the predictions beside it.

    folder (Path): Of the corpus.
    name (str): Of the row.
    measures (dict[str, Any]): As the runner takes them.
    mentions (Sequence[Mention]): The gold mentions.
    found (dict[str, Sequence[Candidates]] | None): Candidates of each, by column.
    RETURNS (Path): The JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if found is not None:
        lines = []
        for i, mention in enumerate(mentions):
            place = {"doc_id": mention.doc_id, "start": mention.start, "end": mention.end}
            words = {"text": mention.text, "long_form": mention.long_form}
            links = {key: _short(candidates[i]) for key, candidates in found.items()}
            lines.append({**place, **words, "gold": list(mention.gold), **links})
        srsly.write_gzip_jsonl(folder / f"{name}{PREDICTIONS_SUFFIX}", lines)
    path = folder / f"{name}.json"
    write_metrics(path, measures)
    return path


def _short(candidates: Candidates) -> list[list[Any]]:
    return [[concept_id, round(score, 4)] for concept_id, score in candidates]


def read_row(path: Path) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): A row's measures. RAISES (MetricELError): E404 if it has none."""
    try:
        measures = srsly.read_json(path)
    except ValueError as err:
        raise BenchmarkError(Errors.E404.format(path=path, reason=err)) from err
    if not isinstance(measures, dict) or "row" not in measures:
        raise BenchmarkError(Errors.E404.format(path=path, reason="it has no key 'row'"))
    return measures


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """RETURNS (list[dict[str, Any]]): A line for each mention. RAISES (MetricELError): E401."""
    if not path.is_file():
        raise BenchmarkError(Errors.E401.format(path=path))
    return list(srsly.read_gzip_jsonl(path))


def linked_mentions(lines: Sequence[dict[str, Any]], column: str) -> list[LinkedMention]:
    """RETURNS (list[LinkedMention]): The mentions with the candidates of `off` or `on`."""
    return [
        LinkedMention(
            line["doc_id"],
            line["text"],
            frozenset(line["gold"]),
            tuple((concept_id, score) for concept_id, score in line[column]),
        )
        for line in lines
    ]


def paired_difference(first: Path, second: Path, column: str) -> dict[str, Any]:
    """Compare the accuracy of two rows, mention by mention.

    first (Path): Predictions of one.
    second (Path): Predictions of the other.
    column (str): `off` or `on`.
    RETURNS (dict[str, Any]): `difference` of first to second, its 95 % `interval` by
        resampled documents, and how many mentions `only_first` and `only_second` got right.
    RAISES (MetricELError): E405 if they linked different mentions.
    """
    lines = [read_predictions(path) for path in (first, second)]
    keys = [[(x["doc_id"], x["start"], x["end"], x["gold"]) for x in side] for side in lines]
    if keys[0] != keys[1]:
        raise BenchmarkError(Errors.E405.format(first=first, second=second))
    sides = [linked_mentions(side, column) for side in lines]
    pairs = [
        PairedMention(a.doc_id, a.text, a.gold, (), is_right(a) - is_right(b))
        for a, b in zip(*sides, strict=True)
    ]
    return {
        "difference": average(pairs, _difference),
        "interval": list(bootstrap_interval(pairs, statistic=_difference)),
        "only_first": sum(pair.difference > 0 for pair in pairs),
        "only_second": sum(pair.difference < 0 for pair in pairs),
    }


def _difference(mention: LinkedMention) -> float:
    return mention.difference if isinstance(mention, PairedMention) else 0.0


def gather_figures(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the figures of a folder, and write them to one file beside it, FOLDER.json.

    folder (Path): With a JSON file for each row.
    RETURNS (dict[str, dict[str, Any]]): Figures by the names of their rows, sorted.
    RAISES (MetricELError): E403 if there are none.
    """
    found = {path.stem: srsly.read_json(path) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise BenchmarkError(Errors.E403.format(folder=folder))
    write_metrics(folder.with_suffix(".json"), found)
    return found
