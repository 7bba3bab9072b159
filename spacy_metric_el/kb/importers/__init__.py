"""Vocabularies of every known format, read as a stream of concepts."""

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import Errors, MetricELError
from ...lines import existing_file, open_binary
from ..entity import Entity
from .jsonl import read_jsonl
from .merge import merge_entities
from .mesh import read_mesh
from .obo import read_obo
from .obo_json import read_obo_json
from .options import DEFAULTS, ReadOptions
from .rrf import read_rrf
from .skos import read_skos
from .table import read_table

__all__ = [
    "FORMATS",
    "Format",
    "ReadOptions",
    "merge_entities",
    "read_entities",
    "read_jsonl",
    "read_mesh",
    "read_obo",
    "read_obo_json",
    "read_rrf",
    "read_skos",
    "read_table",
]

HEAD = 4_096
"""Bytes at the beginning of a file that tell its format."""


class Format(NamedTuple):
    """How a vocabulary format is recognised among others, and how it is read.

    suffixes (tuple[str, ...]): Endings of file names, in small letters.
    signature (str): A regular expression that the beginning of a file matches somewhere.
    read (Callable[[Path, ReadOptions], Iterator[Entity]]): Reads a file.
    """

    suffixes: tuple[str, ...]
    signature: str
    read: Callable[[Path, ReadOptions], Iterator[Entity]]


def _read_jsonl(path: Path, options: ReadOptions) -> Iterator[Entity]:
    return read_jsonl(path)


def _read_obo(path: Path, options: ReadOptions) -> Iterator[Entity]:
    return read_obo(path, id_prefix=options.id_prefix)


_MESH = r"<(Descriptor|Supplemental)RecordSet|\A\s*\*NEWRECORD"
_RDF = r"<rdf:RDF|\A\s*@prefix|\A\s*@base|\A\s*PREFIX|\A\s*<[^>\s]+> <"

# Where an ending is that of several formats, the first whose signature is found is taken.
FORMATS: dict[str, Format] = {
    "obo-json": Format((".json",), r'"graphs"\s*:', read_obo_json),
    "jsonl": Format((".jsonl", ".json"), r"\A\s*\{", _read_jsonl),
    "obo": Format((".obo",), r"\A\s*(format-version:|\[Term\])", _read_obo),
    "rrf": Format((".rrf", ".zip"), r"\A[A-Z][A-Z0-9]*\|[A-Z]{3}\|[^\n]*\|$", read_rrf),
    "mesh": Format((".xml", ".bin"), _MESH, read_mesh),
    "skos": Format((".ttl", ".rdf", ".nt", ".xml"), _RDF, read_skos),
    "table": Format((".csv", ".tsv", ".tab"), r"\A(?!)", read_table),
}


def detect_format(path: Path) -> str:
    """Tell a vocabulary's format by the ending of its name, and else by how it begins.

    path (Path): The file, or the folder of a UMLS release; a `.gz` at the end of its
        name is looked through.
    RETURNS (str): A key of `FORMATS`.
    RAISES (MetricELError): E104 if the format is not known.
    """
    if path.is_dir():
        return "rrf"
    name = path.name.lower().removesuffix(".gz")
    by_ending = [key for key, format_ in FORMATS.items() if name.endswith(format_.suffixes)]
    if len(by_ending) == 1:
        return by_ending[0]
    head = _read_head(path)
    for key in by_ending or FORMATS:
        if re.search(FORMATS[key].signature, head, re.MULTILINE):
            return key
    suffix = Path(name).suffix or "no ending"
    raise MetricELError(Errors.E104.format(path=path, format=suffix, known=", ".join(FORMATS)))


def _read_head(path: Path) -> str:
    try:
        with open_binary(path) as file:
            return file.read(HEAD).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise MetricELError(Errors.E109.format(path=path, reason=error)) from error


def read_entities(
    path: str | Path, options: ReadOptions = DEFAULTS, *, format: str | None = None
) -> Iterator[Entity]:
    """Stream the concepts of a vocabulary.

    path (str | Path): The file, plain or `.gz`, or the folder of a UMLS release.
    options (ReadOptions): Such as the prefix of ids.
    format (str | None): A key of `FORMATS`; known by ending and content if None.
    RETURNS (Iterator[Entity]): Tidy records. A concept comes once, but for formats whose
        files are too large to hold, where it comes once for each stretch of its lines.
    RAISES (MetricELError): E103 if the file is missing and E104 if its format
        is not known, at once; the errors of the format's reader on the way.
    """
    path = Path(path)
    if not path.is_dir():
        existing_file(path)
    key = detect_format(path) if format is None else format
    if key not in FORMATS:
        raise MetricELError(Errors.E104.format(path=path, format=key, known=", ".join(FORMATS)))
    return FORMATS[key].read(path, options)
