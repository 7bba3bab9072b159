"""Row vectors: what one encoder made of a vocabulary. They belong to that encoder."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import faiss
import numpy as np

from ..errors import Errors, MetricELError
from ..files import replaced_folder
from .index import (
    IndexPlan,
    build_index,
    plan_index,
    read_index,
    search_index,
    search_settings,
    set_search,
    write_index,
)
from .ranking import ENTITY_ROW, NAME_ROW
from .storage import MANIFEST, read_manifest, write_manifest

ROWS_FILE = "rows.npz"
DECODED = 65_536
"""Rows that are decoded together."""

IN_MEMORY = 2**29
"""Bytes of vectors that wait in memory for their index; more of them wait in a file."""

KIND_NAMES = {NAME_ROW: "name", ENTITY_ROW: "entity"}


@dataclass(frozen=True)
class RowVectors:
    """Indexed vectors and what each row stands for.

    index (faiss.Index): Inner-product index over the rows.
    kinds (np.ndarray): (n_rows,) uint8, see `ranking`.
    refs (np.ndarray): (n_rows,) int32, a name or an entity.
    fingerprint (str): Of the encoder that made the vectors.
    n_empty (int): Leading columns that are 0 in all rows, and are therefore not in the
        index: the context channel, where names have none.
    factory (str): FAISS factory string of the index.
    """

    index: faiss.Index
    kinds: np.ndarray
    refs: np.ndarray
    fingerprint: str
    n_empty: int = 0
    factory: str = ""

    @property
    def width(self) -> int:
        """RETURNS (int): Width of the vectors."""
        return self.index.d + self.n_empty

    @property
    def n_rows(self) -> int:
        """RETURNS (int): Number of rows."""
        return self.index.ntotal

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[np.ndarray, np.ndarray]): As `search_index`, for (n, width) float32 queries."""
        return search_index(self.index, queries[:, self.n_empty :], k)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32, the vectors of rows, as exact as the index keeps them."""
        out = np.zeros((len(rows), self.width), dtype=np.float32)
        for start in range(0, len(rows), DECODED):
            part = slice(start, start + DECODED)
            out[part, self.n_empty :] = self.index.reconstruct_batch(rows[part])
        return out

    def counts(self) -> dict[str, int]:
        """RETURNS (dict[str, int]): Number of rows of each kind."""
        return {name: int((self.kinds == kind).sum()) for kind, name in KIND_NAMES.items()}


def find_rows(vectors: RowVectors, kinds: np.ndarray, refs: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) int64, the row of each name or entity; -1 for one that has none."""
    rows = np.full(len(refs), -1, dtype=np.int64)
    for kind in KIND_NAMES:
        is_kind, wanted = vectors.kinds == kind, np.flatnonzero(kinds == kind)
        if not is_kind.any() or not len(wanted):
            continue
        row_of = np.full(max(vectors.refs[is_kind].max(), refs[wanted].max()) + 1, -1)
        row_of[vectors.refs[is_kind]] = np.flatnonzero(is_kind)
        rows[wanted] = row_of[refs[wanted]]
    return rows


@contextmanager
def row_buffer(n_rows: int, width: int, folder: Path | None = None) -> Iterator[np.ndarray]:
    """Make room for vectors that wait for their index.

    n_rows (int): Number of rows.
    width (int): Width of the vectors.
    folder (Path | None): Where a file may grow that has no name, and is gone when the
        process is; the system's folder for such files if None.
    YIELDS (np.ndarray): (n_rows, width): float32 in memory, or float16 in a file where
        that takes more than `IN_MEMORY`.
    RAISES (OSError): If the disk has no room for the file.
    """
    if n_rows * width * 4 <= IN_MEMORY:
        yield np.zeros((n_rows, width), dtype=np.float32)
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        # A map of a file with holes would end the process when the disk is full.
        os.posix_fallocate(file.fileno(), 0, n_rows * width * 2)
        yield np.memmap(file, dtype=np.float16, mode="r+", shape=(n_rows, width))


def make_row_vectors(
    vectors: np.ndarray,
    kinds: np.ndarray,
    refs: np.ndarray,
    fingerprint: str,
    *,
    n_empty: int = 0,
    factory: str = "",
) -> RowVectors:
    """Index the vectors of rows.

    vectors (np.ndarray): (n_rows, width - n_empty), unit length; see `row_buffer`.
    kinds (np.ndarray): (n_rows,) kinds of row.
    refs (np.ndarray): (n_rows,) names or entities.
    fingerprint (str): Of the encoder that made the vectors.
    n_empty (int): Columns in front that are 0 in all rows, and that `vectors` lacks.
    factory (str): FAISS factory string; chosen by the rows if empty.
    RETURNS (RowVectors): The index with its rows.
    RAISES (MetricELError): E141 for a factory string that FAISS cannot use here.
    """
    plan = IndexPlan(factory) if factory else plan_index(vectors)
    index = build_index(vectors, plan)
    kinds, refs = kinds.astype(np.uint8), refs.astype(np.int32)
    return RowVectors(index, kinds, refs, fingerprint, n_empty, plan.factory)


def write_vectors(vectors: RowVectors, folder: Path) -> None:
    """Write vectors into a folder of their own, in one step.

    vectors (RowVectors): What to write.
    folder (Path): Made or replaced.
    """
    with replaced_folder(folder) as fresh:
        write_index(vectors.index, fresh)
        np.savez(fresh / ROWS_FILE, kinds=vectors.kinds, refs=vectors.refs)
        content = {
            "fingerprint": vectors.fingerprint,
            "width": vectors.width,
            "rows": vectors.counts(),
            "factory": vectors.factory,
            "search": search_settings(vectors.index),
        }
        write_manifest(fresh, content)


def read_vectors(folder: Path) -> RowVectors | None:
    """Open the vectors of a folder.

    folder (Path): As `write_vectors` makes it.
    RETURNS (RowVectors | None): None if the folder holds no vectors.
    RAISES (MetricELError): E133 to E135 for files that are cut short or do not fit.
    """
    if not (folder / MANIFEST).is_file():
        return None
    content = {"fingerprint": str, "width": int, "factory": str, "search": dict}
    manifest = read_manifest(folder, content)
    try:
        index = read_index(folder)
        _apply(manifest["search"], index)
        # np.load leaves a file open that it opened itself and cannot read.
        with (folder / ROWS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as rows:
            kinds, refs = rows["kinds"], rows["refs"]
    except (RuntimeError, MemoryError, ValueError, KeyError, TypeError, OSError, BadZipFile) as err:
        raise MetricELError(Errors.E135.format(path=folder, reason=err)) from err
    if not len(kinds) == len(refs) == index.ntotal:
        reason = f"{index.ntotal} vectors, {len(kinds)} kinds, {len(refs)} targets"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    n_empty = manifest["width"] - index.d
    if n_empty < 0:
        reason = f"vectors of {index.d} columns instead of {manifest['width']}"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    return RowVectors(index, kinds, refs, manifest["fingerprint"], n_empty, manifest["factory"])


def _apply(search: dict[str, Any], index: faiss.Index) -> None:
    set_search(index, probes=int(search["probes"]), k_factor=float(search["k_factor"]))
