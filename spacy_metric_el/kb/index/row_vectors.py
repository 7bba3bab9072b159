"""Row vectors: what one encoder made of a vocabulary. They belong to that encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import faiss
import numpy as np

from ...errors import Errors, MetricELError
from ...files import replaced_folder
from ..ranking import ENTITY_ROW, NAME_ROW
from ..storage import MANIFEST, read_manifest, write_manifest
from .faiss_index import (
    EightBitRows,
    IndexPlan,
    build_index,
    eight_bit_rows,
    plan_index,
    read_index,
    search_index,
    search_settings,
    set_search,
    write_index,
)
from .postings import (
    Postings,
    best_places,
    build_postings,
    gather_rows,
    read_postings,
    write_postings,
)

ROWS_FILE = "rows.npz"
DECODED = 65_536
"""Rows that are decoded together."""

COMPARED = 8
"""Rows that are compared with a text, per row asked for, where postings say which."""

KIND_NAMES = {NAME_ROW: "name", ENTITY_ROW: "entity"}


class NgramFit(NamedTuple):
    """What an encoder that nothing was learned with was fitted to, so that it need not be
    counted again whenever a fresh one opens the vocabulary.

    start (str): Fingerprint of the surface channel before it was fitted.
    weights (np.ndarray): (rows,) float32, of its n-grams, from the names' frequencies.
    """

    start: str
    weights: np.ndarray


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
    postings (Postings | None): Say which rows a text is compared with; all, if None.
    fit (NgramFit | None): Where the encoder was fitted to this vocabulary, and no more.
    """

    index: faiss.Index
    kinds: np.ndarray
    refs: np.ndarray
    fingerprint: str
    n_empty: int = 0
    factory: str = ""
    postings: Postings | None = None
    fit: NgramFit | None = None

    @property
    def width(self) -> int:
        """RETURNS (int): Width of the vectors."""
        return self.index.d + self.n_empty

    @property
    def n_rows(self) -> int:
        """RETURNS (int): Number of rows."""
        return self.index.ntotal

    def search(
        self, queries: np.ndarray, k: int, texts: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows.

        queries (np.ndarray): (n, width) float32.
        k (int): Rows for each query.
        texts (Sequence[str] | None): (n,) what the queries are vectors of. Where rows are
            of the surface channel alone (`n_empty`), each text is searched once, and
            postings, if there are any, say which rows it is compared with: rows that
            share no n-gram of 3 to 5 characters are not found.
        RETURNS (tuple[np.ndarray, np.ndarray]): Inner products, (n, k) float32, best
            first, and rows, (n, k) int64; -1 where fewer than k rows were found. k is
            the number of rows where more were asked for.
        RAISES (MetricELError): E142 for fewer or more texts than queries.
        """
        if texts is not None and len(texts) != len(queries):
            raise MetricELError(Errors.E142.format(texts=len(texts), queries=len(queries)))
        k = min(k, max(self.n_rows, 1))
        queries = queries[:, self.n_empty :]
        if texts is None or not self.n_empty:
            return search_index(self.index, queries, k)
        numbers: dict[str, int] = {}
        places = np.asarray(
            [numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64
        )
        distinct = queries[np.unique(places, return_index=True)[1]]
        if self.postings is None:
            similarities, rows = search_index(self.index, distinct, k)
        else:
            similarities, rows = self._compare_sharing(self.postings, distinct, list(numbers), k)
        return similarities[places], rows[places]

    def _compare_sharing(
        self, postings: Postings, queries: np.ndarray, texts: Sequence[str], k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        similarities = np.full((len(texts), k), -np.inf, dtype=np.float32)
        found = np.full((len(texts), k), -1, dtype=np.int64)
        offsets, rows = gather_rows(postings, texts, COMPARED * k)
        for i, query in enumerate(queries):
            sharing = rows[offsets[i] : offsets[i + 1]]
            if not len(sharing):
                continue
            products = self._eight_bit_rows.compare(sharing, query)
            best = best_places(products, k)
            best = best[np.argsort(-products[best], kind="stable")]
            similarities[i, : len(best)] = products[best]
            found[i, : len(best)] = sharing[best]
        return similarities, found

    @cached_property
    def _eight_bit_rows(self) -> EightBitRows:
        return eight_bit_rows(self.index)

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
    *,
    n_empty: int = 0,
    factory: str = "",
    texts_of: Callable[[np.ndarray], Sequence[str]] | None = None,
    postings: Postings | None = None,
    work_folder: Path | None = None,
    progress: bool = False,
) -> RowVectors:
    """Index the vectors of rows.

    vectors (np.ndarray): (n_rows, width - n_empty), unit length; see `row_buffer`.
    kinds (np.ndarray): (n_rows,) kinds of row.
    refs (np.ndarray): (n_rows,) names or entities.
    fingerprint (str): Of the encoder that made the vectors.
    n_empty (int): Columns in front that are 0 in all rows, and that `vectors` lacks: the
        context channel. What is left is then the surface channel alone.
    factory (str): FAISS factory string; chosen by the rows if empty.
    texts_of (Callable | None): Returns the texts of rows, (n,) int64, for postings.
    postings (Postings | None): Those of the same texts, if they have been made before.
    work_folder (Path | None): Where long postings may wait; see `scratch_array`.
    progress (bool): Whether to show a progress bar while postings are made.
    RETURNS (RowVectors): The index with its rows.
    RAISES (MetricELError): E141 for a factory string that FAISS cannot use here.
    """
    by_surface = n_empty > 0 and texts_of is not None
    plan = IndexPlan(factory) if factory else plan_index(vectors, by_surface=by_surface)
    index = build_index(vectors, plan)
    if not plan.has_postings:
        postings = None
    elif postings is None and texts_of is not None:
        postings = build_postings(texts_of, len(vectors), work_folder, progress=progress)
    kinds, refs = kinds.astype(np.uint8), refs.astype(np.int32)
    return RowVectors(index, kinds, refs, fingerprint, n_empty, plan.factory, postings)


def write_vectors(vectors: RowVectors, folder: Path) -> None:
    """Write vectors into a folder of their own, in one step.

    vectors (RowVectors): What to write.
    folder (Path): Made or replaced.
    """
    with replaced_folder(folder) as fresh:
        write_index(vectors.index, fresh)
        if vectors.postings is not None:
            write_postings(vectors.postings, fresh)
        arrays = {"kinds": vectors.kinds, "refs": vectors.refs}
        if vectors.fit is not None:
            arrays["ngram_weights"] = vectors.fit.weights
        np.savez(fresh / ROWS_FILE, **arrays)  # type: ignore[arg-type]
        content = {
            "fingerprint": vectors.fingerprint,
            "fitted_from": vectors.fit.start if vectors.fit is not None else None,
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
        index, postings = read_index(folder), read_postings(folder)
        _apply(manifest["search"], index)
        # np.load leaves a file open that it opened itself and cannot read.
        with (folder / ROWS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as rows:
            kinds, refs = rows["kinds"], rows["refs"]
            start = manifest.get("fitted_from")
            fit = NgramFit(start, rows["ngram_weights"]) if start else None
    except (RuntimeError, MemoryError, ValueError, KeyError, TypeError, OSError, BadZipFile) as err:
        raise MetricELError(Errors.E135.format(path=folder, reason=err)) from err
    if not len(kinds) == len(refs) == index.ntotal:
        reason = f"{index.ntotal} vectors, {len(kinds)} kinds, {len(refs)} targets"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    if postings is not None and len(postings.norms) != index.ntotal:
        reason = f"{index.ntotal} vectors, postings of {len(postings.norms)}"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    n_empty = manifest["width"] - index.d
    if n_empty < 0:
        reason = f"vectors of {index.d} columns instead of {manifest['width']}"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    fingerprint, factory = manifest["fingerprint"], manifest["factory"]
    return RowVectors(index, kinds, refs, fingerprint, n_empty, factory, postings, fit)


def _apply(search: dict[str, Any], index: faiss.Index) -> None:
    set_search(index, probes=int(search["probes"]), k_factor=float(search["k_factor"]))
