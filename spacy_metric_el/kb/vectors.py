"""Row vectors: what one encoder made of a vocabulary. They belong to that encoder."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import faiss
import numpy as np

from ..errors import Errors, MetricELError
from ..files import replaced_folder
from .index import build_index, read_index, search_index
from .ranking import ENTITY_ROW, NAME_ROW
from .storage import MANIFEST, read_manifest, write_manifest

INDEX_FILE = "index.faiss"
ROWS_FILE = "rows.npz"
DECODED = 65_536
"""Rows that are decoded together."""

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
    """

    index: faiss.Index
    kinds: np.ndarray
    refs: np.ndarray
    fingerprint: str
    n_empty: int = 0

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


def make_row_vectors(
    vectors: np.ndarray,
    kinds: np.ndarray,
    refs: np.ndarray,
    fingerprint: str,
    factory: str | None = None,
) -> RowVectors:
    """Index the vectors of rows.

    vectors (np.ndarray): (n_rows, width) float32, unit length.
    kinds (np.ndarray): (n_rows,) kinds of row.
    refs (np.ndarray): (n_rows,) names or entities.
    fingerprint (str): Of the encoder that made the vectors.
    factory (str | None): FAISS factory string; chosen by size if None.
    RETURNS (RowVectors): The index with its rows.
    """
    is_used = vectors.any(axis=0)
    n_empty = int(is_used.argmax()) if is_used.any() else 0
    index = build_index(vectors[:, n_empty:], factory)
    return RowVectors(index, kinds.astype(np.uint8), refs.astype(np.int32), fingerprint, n_empty)


def write_vectors(vectors: RowVectors, folder: Path) -> None:
    """Write vectors into a folder of their own, in one step.

    vectors (RowVectors): What to write.
    folder (Path): Made or replaced.
    """
    with replaced_folder(folder) as fresh:
        faiss.write_index(vectors.index, str(fresh / INDEX_FILE))
        np.savez(fresh / ROWS_FILE, kinds=vectors.kinds, refs=vectors.refs)
        content = {
            "fingerprint": vectors.fingerprint,
            "width": vectors.width,
            "rows": vectors.counts(),
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
    manifest = read_manifest(folder, {"fingerprint": str, "width": int})
    try:
        index = read_index(str(folder / INDEX_FILE))
        # np.load leaves a file open that it opened itself and cannot read.
        with (folder / ROWS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as rows:
            kinds, refs = rows["kinds"], rows["refs"]
    except (RuntimeError, ValueError, KeyError, OSError, BadZipFile) as err:
        raise MetricELError(Errors.E135.format(path=folder, reason=err)) from err
    if not len(kinds) == len(refs) == index.ntotal:
        reason = f"{index.ntotal} vectors, {len(kinds)} kinds, {len(refs)} targets"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    n_empty = manifest["width"] - index.d
    if n_empty < 0:
        reason = f"vectors of {index.d} columns instead of {manifest['width']}"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    return RowVectors(index, kinds, refs, manifest["fingerprint"], n_empty)
