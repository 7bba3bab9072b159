"""Lines of a text file, plain or gzipped, with coded errors that say where."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from .errors import Errors, MetricELError

_BOM = b"\xef\xbb\xbf"


def existing_file(path: str | Path) -> Path:
    """Check that a source is there before anything is read from it.

    path (str | Path): The file.
    RETURNS (Path): The same file.
    RAISES (MetricELError): E103 if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise MetricELError(Errors.E103.format(path=path))
    return path


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes, through gzip if its name ends in `.gz`.

    path (Path): The file.
    RETURNS (BinaryIO): The open file.
    """
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Stream the lines of a UTF-8 file; `\\n` and `\\r\\n` end a line, nothing else does.

    path (str | Path): The file, plain or `.gz`.
    YIELDS (tuple[int, str]): The number of the line, from 1, and its text.
    RAISES (MetricELError): E103 if the file is missing, E105 if a line is not
        UTF-8, E109 if the file cannot be read.
    """
    path = existing_file(path)
    try:
        with open_binary(path) as file:
            yield from decode_lines(file, str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise MetricELError(Errors.E109.format(path=path, reason=error)) from error


def decode_lines(file: Iterable[bytes], label: str) -> Iterator[tuple[int, str]]:
    """Decode the lines of an open file; see `read_lines`.

    file (Iterable[bytes]): The lines with their ends.
    label (str): What errors call the file.
    YIELDS (tuple[int, str]): The number of the line, from 1, and its text.
    RAISES (MetricELError): E105 if a line is not UTF-8.
    """
    for number, raw in enumerate(file, 1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        try:
            yield number, line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise MetricELError(Errors.E105.format(path=label, line=number)) from error


def first_line(path: Path) -> str:
    """RETURNS (str): The first line that is not blank; empty if there is none."""
    return next((line for _, line in read_lines(path) if line.strip()), "")
