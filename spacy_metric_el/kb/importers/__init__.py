"""Vocabularies of every known format, read as a stream of concepts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import Errors, MetricELError
from ..entity import Entity
from .jsonl import read_jsonl
from .lines import existing_file, read_lines
from .merge import merge_entities
from .obo import read_obo

__all__ = ["FORMATS", "Format", "merge_entities", "read_entities", "read_jsonl", "read_obo"]


class Format(NamedTuple):
    """How a vocabulary format is told from others, and how it is read.

    suffixes (tuple[str, ...]): Endings of file names, in small letters.
    openings (tuple[str, ...]): What the first line that is not blank may begin with.
    read (Callable[[Path, str], Iterator[Entity]]): Reads a file, given the
        prefix of the concept ids.
    """

    suffixes: tuple[str, ...]
    openings: tuple[str, ...]
    read: Callable[[Path, str], Iterator[Entity]]


def _read_jsonl(path: Path, id_prefix: str) -> Iterator[Entity]:
    return read_jsonl(path)


def _read_obo(path: Path, id_prefix: str) -> Iterator[Entity]:
    return read_obo(path, id_prefix=id_prefix)


FORMATS: dict[str, Format] = {
    "jsonl": Format((".jsonl", ".json"), ("{",), _read_jsonl),
    "obo": Format((".obo",), ("format-version:", "[Term]"), _read_obo),
}


def detect_format(path: Path) -> str:
    """Tell a vocabulary's format by the ending of its name, or else by its first line.

    path (Path): The file; a `.gz` at the end of its name is looked through.
    RETURNS (str): A key of `FORMATS`.
    RAISES (MetricELError): E104 if the format is not known.
    """
    name = path.name.lower().removesuffix(".gz")
    for key, format_ in FORMATS.items():
        if name.endswith(format_.suffixes):
            return key
    opening = next((line.lstrip() for _, line in read_lines(path) if line.strip()), "")
    for key, format_ in FORMATS.items():
        if opening.startswith(format_.openings):
            return key
    suffix = Path(name).suffix or "no ending"
    raise MetricELError(Errors.E104.format(path=path, format=suffix, known=", ".join(FORMATS)))


def read_entities(
    path: str | Path, *, format: str | None = None, id_prefix: str = "UMLS"
) -> Iterator[Entity]:
    """Stream the concepts of a vocabulary file.

    path (str | Path): The file, plain or `.gz`.
    format (str | None): A key of `FORMATS`; told by ending and content if None.
    id_prefix (str): In formats that refer to concepts by cross references, the
        prefix of the concept ids.
    RETURNS (Iterator[Entity]): Tidy records, each concept once.
    RAISES (MetricELError): E103 if the file is missing and E104 if its format
        is not known, at once; the errors of the format's reader on the way.
    """
    path = existing_file(path)
    key = detect_format(path) if format is None else format
    if key not in FORMATS:
        raise MetricELError(Errors.E104.format(path=path, format=key, known=", ".join(FORMATS)))
    return FORMATS[key].read(path, id_prefix)
