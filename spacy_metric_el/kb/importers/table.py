"""Tables of concepts, or of their names, in CSV or TSV."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from ...errors import Errors, MetricELError
from ...lines import existing_file, first_line, read_lines
from ..entity import Entity, clean_entity
from .options import DEFAULTS, ReadOptions

FIELDS = {
    "concept_id": ("concept_id", "id", "cui", "code"),
    "canonical_name": ("canonical_name", "label", "preferred_label", "pref_label"),
    "aliases": ("aliases", "synonyms", "synonym", "alias"),
    "types": ("types", "semantic_types", "type", "tui"),
    "definition": ("definition", "def", "description"),
    "name": ("name", "string", "term"),
}
NAME_FIELDS = ("canonical_name", "name", "aliases")
SEPARATOR = "|"


def _find_delimiter(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".tsv", ".tab")):
        return "\t"
    if name.endswith(".csv"):
        return ","
    heading = first_line(path)
    return "\t" if "\t" in heading else max(",;", key=heading.count)


def _iter_lines(path: Path) -> Iterator[str]:
    for number, line in read_lines(path):
        if "\0" in line:
            # Python 3.10 refuses it, and later versions take it for text.
            raise MetricELError(Errors.E117.format(path=path, line=number, reason="NUL character"))
        yield line + "\n"


def _iter_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """YIELDS (tuple[int, list[str]]): The line on which a row begins, and its cells."""
    rows = csv.reader(_iter_lines(path), delimiter=_find_delimiter(path), strict=True)
    width = 0
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise MetricELError(Errors.E117.format(path=path, line=number, reason=error)) from error
        if row is None:
            return
        if len(row) < 2 and not "".join(row).strip():
            continue
        width = width or len(row)
        if len(row) != width:
            reason = f"found {len(row)} cells, expected {width}"
            raise MetricELError(Errors.E117.format(path=path, line=number, reason=reason))
        yield number, row


def _normalize(heading: str) -> str:
    return re.sub(r"[\s_-]+", "_", heading.strip().casefold())


def _has_headings(columns: Mapping[str, str]) -> bool:
    return not columns or not all(str(column).isdecimal() for column in columns.values())


def _find_place(column: str, headings: list[str]) -> int:
    """RAISES (ValueError): If no column, or more than one, is meant."""
    places = [i for i, heading in enumerate(headings) if heading == _normalize(column)]
    if not places and column.isdecimal() and 0 < int(column) <= len(headings):
        return int(column) - 1
    if not places:
        raise ValueError(f"there is no column '{column}'")
    if len(places) > 1:
        raise ValueError(f"there are {len(places)} columns '{column}'")
    return places[0]


def _find_places(columns: Mapping[str, str], headings: list[str]) -> dict[str, int]:
    """Tell where each field is, by the map or else by the usual headings.

    RAISES (ValueError): If that does not give an id and a name.
    """
    usual = {
        field: next((spelling for spelling in spellings if spelling in headings), "")
        for field, spellings in FIELDS.items()
    }
    wanted = columns or {field: heading for field, heading in usual.items() if heading}
    for field in wanted:
        if field not in FIELDS:
            raise ValueError(f"'{field}' is not a field to read ({', '.join(FIELDS)})")
    if "concept_id" not in wanted:
        raise ValueError("no column is known to have the ids of concepts")
    if not any(field in wanted for field in NAME_FIELDS):
        raise ValueError("no column is known to have names")
    return {field: _find_place(str(column), headings) for field, column in wanted.items()}


def _make_record(row: list[str], places: Mapping[str, int]) -> Entity:
    cells = {field: row[place] for field, place in places.items()}
    return Entity(
        cells["concept_id"].strip(),
        cells.get("canonical_name", ""),
        [cells.get("name", ""), *cells.get("aliases", "").split(SEPARATOR)],
        cells.get("types", "").split(SEPARATOR),
        cells.get("definition"),
    )


def _find_missing(record: Entity) -> str:
    """RETURNS (str): What a record lacks that it must have; empty if nothing."""
    if not record.concept_id:
        return "id"
    return "" if any(map(str.strip, [record.canonical_name, *record.aliases])) else "name"


def _iter_records(path: Path, columns: Mapping[str, str]) -> Iterator[Entity]:
    places: dict[str, int] = {}
    for number, row in _iter_rows(path):
        if not places:
            with_headings = _has_headings(columns)
            headings = [_normalize(cell) for cell in row] if with_headings else [""] * len(row)
            try:
                places = _find_places(columns, headings)
            except ValueError as error:
                listed = ", ".join(row) if with_headings else f"{len(row)}, without headings"
                reason = Errors.E118.format(path=path, problem=error, columns=listed)
                raise MetricELError(reason) from error
            if with_headings:
                continue
        record = _make_record(row, places)
        if missing := _find_missing(record):
            raise MetricELError(Errors.E119.format(path=path, line=number, missing=missing))
        yield record


def _unite(records: Iterable[Entity]) -> Entity:
    """RETURNS (Entity): What the rows of one concept say together."""
    rows = list(records)
    canonical_names = (row.canonical_name for row in rows if row.canonical_name.strip())
    definitions = (row.definition for row in rows if (row.definition or "").strip())
    names = [name for row in rows for name in (row.canonical_name, *row.aliases)]
    types = [type_ for row in rows for type_ in row.types]
    return clean_entity(
        Entity(rows[0].concept_id, next(canonical_names, ""), names, types, next(definitions, None))
    )


def read_table(path: str | Path, options: ReadOptions = DEFAULTS) -> Iterator[Entity]:
    """Stream the concepts of a table in CSV or TSV.

    A row is a concept (`canonical_name`, `aliases`) or one name of a concept
    (`name`). Rows of one concept that follow each other are one record; a
    concept that comes back later gives another one, which `merge_entities`
    unites with the first. Several aliases or types in a cell are separated
    by `|`, and a cell that holds the delimiter is quoted with `"`.

    `options.columns` says what to read: `{"concept_id": "Class ID", "name": "3"}`.
    If all its columns are numbers, the table has no headings, and its first row
    is a concept. Without it, columns are found by their headings, which may be
    those in `FIELDS`, the first one first. Capitals do not matter in headings,
    and spaces and hyphens are as good as `_`. Other columns are ignored.

    The delimiter is a tab in `.tsv` and `.tab` and a comma in `.csv`; in other
    files it is a tab if the first line has one, or else a comma or semicolon,
    whichever that line has more of.

    path (str | Path): The file, plain or `.gz`.
    options (ReadOptions): Only `columns` is used.
    YIELDS (Entity): Tidy records; blank lines are skipped.
    RAISES (MetricELError): E111 if the table has no row, E117 if a row has too
        many or too few cells or its quotes do not match, E118 if a column that
        is needed is not there, E119 if a row has no id or no name.
    """
    path = existing_file(path)
    empty = True
    records = _iter_records(path, options.columns)
    for _, group in groupby(records, key=lambda record: record.concept_id):
        empty = False
        yield _unite(group)
    if empty:
        raise MetricELError(Errors.E111.format(path=path))
