"""The UMLS Metathesaurus in its Rich Release Format."""

import gzip
import io
import lzma
import re
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np

from ...errors import Errors, MetricELError
from ...lines import decode_lines, existing_file, read_lines
from ..entity import Entity, clean_entity
from .options import DEFAULTS, ReadOptions
from .semantic_types import SEMANTIC_NETWORK, narrower_types

_CUI = "[A-Z][A-Z0-9]{0,11}"
# How many columns a table has, and what the first of them looks like.
_LAYOUTS = {
    "MRCONSO.RRF": (18, _CUI),
    "MRSTY.RRF": (6, _CUI),
    "MRDEF.RRF": (8, _CUI),
    "MRRANK.RRF": (4, "[0-9]{1,9}"),
    "MRSAB.RRF": (25, ".*"),
}
_SUPPRESSED = frozenset("OYE")
_ZIP_ERRORS = (
    BadZipFile,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member, or an unknown way of compression
    ValueError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)


class _Table(NamedTuple):
    label: str
    read: Callable[[], Iterator[tuple[int, str]]]


class _Types(NamedTuple):
    """The types of all concepts, as two columns sorted by concept."""

    concepts: np.ndarray
    codes: np.ndarray
    tuis: list[str]
    network: dict[str, str]


class _Name(NamedTuple):
    cui: str
    language: str
    term_status: str
    string_type: str
    preferred: str
    source: str
    term_type: str
    text: str
    suppress: str


_get_name = itemgetter(0, 1, 2, 4, 6, 11, 12, 14, 16)


def _read_member(archive: ZipFile, name: str, label: str) -> Iterator[tuple[int, str]]:
    """YIELDS (tuple[int, str]): What `read_lines` would, had the member been extracted."""
    unpack: Callable[[Any], Any] = gzip.open if name.endswith(".gz") else io.BufferedReader
    try:
        with archive.open(name) as member, unpack(member) as file:
            yield from decode_lines(file, label)
    except MetricELError:
        raise
    except _ZIP_ERRORS as error:
        raise MetricELError(Errors.E109.format(path=label, reason=error)) from error


def _open_zip(path: Path) -> ZipFile:
    try:
        return ZipFile(path)
    except _ZIP_ERRORS as error:
        raise MetricELError(Errors.E109.format(path=path, reason=error)) from error


def _list_folder(path: Path, *patterns: str) -> dict[PurePath, _Table]:
    files = [file for pattern in patterns for file in sorted(path.glob(pattern)) if file.is_file()]
    return {file: _Table(str(file), partial(read_lines, file)) for file in files}


def _list_zip(path: Path, archive: ZipFile) -> dict[PurePath, _Table]:
    labels = {name: f"{path}/{name}" for name in archive.namelist()}
    return {
        PurePosixPath(name): _Table(label, partial(_read_member, archive, name, label))
        for name, label in labels.items()
    }


def _pick_tables(files: Mapping[PurePath, _Table], home: PurePath) -> dict[str, _Table]:
    found = {name: files.get(home / name) or files.get(home / f"{name}.gz") for name in _LAYOUTS}
    return {name: table for name, table in found.items() if table is not None}


def _find_home(path: Path, files: Iterable[PurePath]) -> PurePath:
    homes = {file.parent for file in files if file.name.removesuffix(".gz") == "MRCONSO.RRF"}
    if len(homes) != 1:
        found = ", ".join(sorted(str(home / "MRCONSO.RRF") for home in homes)) or "none"
        raise MetricELError(Errors.E113.format(path=path, found=found))
    return homes.pop()


def _find_problem(row: list[str], columns: int) -> str:
    if len(row) != columns + 1:
        return f"{len(row) - 1} columns that end in a bar instead of {columns}"
    return "text after the last bar" if row[-1] else f"it begins with {row[0]!r}"


def _read_rows(tables: Mapping[str, _Table], name: str) -> Iterator[list[str]]:
    if name not in tables:
        return
    columns, key = _LAYOUTS[name]
    is_key, known = re.compile(key).fullmatch, ""
    for number, line in tables[name].read():
        row = line.split("|")
        if len(row) == columns + 1 and not row[-1] and (row[0] == known or is_key(row[0])):
            known = row[0]
            yield row
        elif line.strip():
            label, reason = tables[name].label, _find_problem(row, columns)
            raise MetricELError(
                Errors.E112.format(path=label, line=number, table=name, reason=reason)
            )


def _number_cui(cui: str) -> int:
    # Digits and capitals after a capital, 12 at most: one number of 64 bits for each.
    return int(cui, 36)


def _read_types(tables: Mapping[str, _Table]) -> _Types:
    concepts, codes = array("q"), array("I")
    numbered: dict[str, int] = {}
    network: dict[str, str] = {}
    for cui, tui, tree_number, *_ in _read_rows(tables, "MRSTY.RRF"):
        concepts.append(_number_cui(cui))
        codes.append(numbered.setdefault(tui, len(numbered)))
        network[tui] = tree_number
    keys = np.asarray(concepts, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    return _Types(keys[order], np.asarray(codes)[order], list(numbered), network)


def _get_types(types: _Types, cui: str) -> list[str]:
    number = _number_cui(cui)
    first, last = types.concepts.searchsorted([number, number + 1])
    return sorted({types.tuis[code] for code in types.codes[first:last]})


def _admit_types(types: _Types, options: ReadOptions, tables: Mapping[str, _Table]) -> frozenset:
    """RETURNS (frozenset): The types that a concept may have; empty for any."""
    wanted, label = options.semantic_types, tables["MRCONSO.RRF"].label
    if wanted and "MRSTY.RRF" not in tables:
        raise MetricELError(Errors.E114.format(path=label))
    if unknown := wanted.difference(SEMANTIC_NETWORK, types.network):
        raise MetricELError(Errors.E116.format(path=label, types=", ".join(sorted(unknown))))
    # Older releases number their trees otherwise, so the two are not mixed; and a wide
    # type may be known only here, if no concept of the release is of just that type.
    return narrower_types(wanted) | narrower_types(wanted, types.network)


def _read_definitions(tables: Mapping[str, _Table], options: ReadOptions) -> dict[str, str]:
    languages = {row[3]: row[19] for row in _read_rows(tables, "MRSAB.RRF")}
    preferred: dict[str, str] = {}
    others: dict[str, str] = {}
    for cui, _, _, _, source, text, suppress, *_ in _read_rows(tables, "MRDEF.RRF"):
        language = languages.get(source)
        if suppress in _SUPPRESSED or not text.strip():
            continue
        if language and options.languages and language not in options.languages:
            continue
        target = preferred if not options.sources or source in options.sources else others
        target.setdefault(cui, text)
    return others | preferred


def _find_filter(name: _Name, options: ReadOptions) -> str:
    """RETURNS (str): What a name does not pass; empty if it passes."""
    if options.languages and name.language not in options.languages:
        return "languages"
    if options.sources and name.source not in options.sources:
        return "sources"
    if name.suppress in _SUPPRESSED and not options.suppressed:
        return "suppressed"
    return "" if name.text.strip() else "empty names"


def _order_names(names: list[_Name], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    def get_place(name: _Name) -> tuple:
        rank = ranks.get((name.source, name.term_type), -1)
        return (-rank, name.term_status != "P", name.string_type != "PF", name.preferred != "Y")

    return [name.text for name in sorted(names, key=get_place)]


def _read_concepts(tables: Mapping[str, _Table], options: ReadOptions) -> Iterator[Entity]:
    types = _read_types(tables)
    admitted = _admit_types(types, options, tables)
    definitions = _read_definitions(tables, options)
    ranks = {(row[1], row[2]): int(row[0]) for row in _read_rows(tables, "MRRANK.RRF")}
    names = map(_Name._make, map(_get_name, _read_rows(tables, "MRCONSO.RRF")))
    seen: Counter[str] = Counter()
    for cui, group in groupby(names, key=attrgetter("cui")):
        tuis = _get_types(types, cui)
        outside = bool(admitted) and admitted.isdisjoint(tuis)
        passed = []
        for name in group:
            held = "semantic types" if outside else _find_filter(name, options)
            seen[held] += 1
            if not held:
                passed.append(name)
        if passed:
            texts = _order_names(passed, ranks)
            yield clean_entity(Entity(cui, texts[0], texts, tuis, definitions.get(cui)))
    label = tables["MRCONSO.RRF"].label
    if not seen:
        raise MetricELError(Errors.E111.format(path=label))
    if not seen[""]:
        del seen[""]
        filters = ", ".join(f"{name} ({count})" for name, count in seen.most_common())
        raise MetricELError(Errors.E115.format(path=label, count=seen.total(), filters=filters))


def read_rrf(path: str | Path, options: ReadOptions = DEFAULTS) -> Iterator[Entity]:
    """Stream the concepts of a UMLS release, in the order of MRCONSO.RRF.

    Names are ordered by the rank of their source and term type in MRRANK, then by
    TS=P, STT=PF and ISPREF=Y, then as in the file; the first is the canonical one.
    The types are those of MRSTY. A concept passes the filter of semantic types if it
    has a wanted one or one below it in the semantic network, as `narrower_types` says:
    `ReadOptions(semantic_types=ST21PV_TYPES, sources=ST21PV_SOURCES)` reads the
    concepts of MedMentions ST21pv. The definition is the first in MRDEF of a wanted
    source, or else of any, that is not suppressed, nor by MRSAB in another language.

    MRSTY, MRDEF, MRRANK and MRSAB may be missing. Held in memory are 12 bytes per line
    of MRSTY and one or two definitions per concept that has any, some 100 MB in a full
    release; MRCONSO is streamed. A concept whose lines are apart comes once for each
    stretch of them; `merge_entities` unites these.

    path (str | Path): The MRCONSO.RRF with the other tables beside it; a folder that
        holds it, itself or in `META` or `2024AA/META`; or a `.zip` that holds it at
        any depth. Tables may also be `.RRF.gz`.
    options (ReadOptions): Which names and concepts to take: `languages`, `sources`,
        `semantic_types` and `suppressed`.
    YIELDS (Entity): A tidy record per concept.
    RAISES (MetricELError): E103 if the path is missing, E105 if a line is not UTF-8,
        E109 if a file cannot be read, E111 if there is no concept, E112 for a line that
        is not of its table, E113 if there is not exactly one MRCONSO.RRF, E114 for
        semantic types without MRSTY.RRF, E115 if no name passes the filters, E116 for
        unknown semantic types.
    """
    path = Path(path)
    if path.is_dir():
        files = _list_folder(path, "*.RRF*", "META/*.RRF*", "*/META/*.RRF*")
        yield from _read_concepts(_pick_tables(files, _find_home(path, files)), options)
    elif existing_file(path).suffix.lower() == ".zip":
        with _open_zip(path) as archive:
            files = _list_zip(path, archive)
            yield from _read_concepts(_pick_tables(files, _find_home(path, files)), options)
    else:
        tables = _pick_tables(_list_folder(path.parent, "*.RRF*"), path.parent)
        tables["MRCONSO.RRF"] = _Table(str(path), partial(read_lines, path))
        yield from _read_concepts(tables, options)
