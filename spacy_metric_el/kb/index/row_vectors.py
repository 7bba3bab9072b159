"""Row vectors: what one encoder made of a vocabulary. They belong to that encoder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import faiss
import numpy as np

from ...errors import Errors, MetricELError
from ...files import replaced_folder
from ...stages import stage
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
    gather_rows,
    read_postings,
    write_postings,
)

ROWS_FILE = "rows.npz"
DECODED = 65_536
"""Rows that are decoded together."""

COMPARED = 8
"""Rows that are compared with a text, per row asked for, where postings say which."""


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
    """Indexed vectors of names.

    index (faiss.Index): Inner-product index over the rows.
    names (np.ndarray): (n_rows,) int32, the record of the name that each row stands for,
        rising. Not every name has a row in a knowledge base that was added to.
    fingerprint (str): Of the encoder that made the vectors.
    n_empty (int): Leading columns that are 0 in all rows, and are therefore not in the
        index: the context channel, where names have none.
    factory (str): FAISS factory string of the index.
    postings (Postings | None): Say which rows a text is compared with; all, if None.
    fit (NgramFit | None): Where the encoder was fitted to this vocabulary, and no more.
    """

    index: faiss.Index
    names: np.ndarray
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
        self,
        queries: np.ndarray,
        k: int,
        *,
        texts: Sequence[str] | None = None,
        near: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows.

        queries (np.ndarray): (n, width) float32.
        k (int): Rows for each query.
        texts (Sequence[str] | None): (n,) what the queries are vectors of. Where rows are
            of the surface channel alone (`n_empty`), postings, if there are any, say which
            rows a text is compared with: rows that share no n-gram of 3 to 5 characters
            are not found. Many times faster among many rows.
        near (int | None): The first so many rows are what would be found if no more were
            asked for: an index that compares some rows more closely than others goes by
            it. k if None.
        RETURNS (tuple[np.ndarray, np.ndarray]): Inner products, (n, k) float32, and rows,
            (n, k) int64; -1 where fewer than k rows were found. The near ones, best first,
            and then the others, best first. k is the number of rows where more were asked
            for.
        RAISES (MetricELError): E137 for queries of another width, E142 for fewer or more
            texts than queries.
        """
        if queries.shape[1] != self.width:
            raise MetricELError(Errors.E137.format(found=queries.shape[1], expected=self.width))
        if texts is not None and len(texts) != len(queries):
            raise MetricELError(Errors.E142.format(texts=len(texts), queries=len(queries)))
        k = min(k, max(self.n_rows, 1))
        near = k if near is None else min(near, k)
        queries = queries[:, self.n_empty :]
        if texts is None or self.postings is None:
            return search_index(self.index, queries, k, near=near)
        with stage("comparing of rows"):
            sharing = gather_rows(self.postings, texts, COMPARED * k)
            return self._compare_sharing(queries, sharing, k=k, near=near)

    def _compare_sharing(
        self,
        queries: np.ndarray,
        sharing: Iterable[tuple[np.ndarray, np.ndarray]],
        *,
        k: int,
        near: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        similarities = np.full((len(queries), k), -np.inf, dtype=np.float32)
        found = np.full((len(queries), k), -1, dtype=np.int64)
        for i, (query, (rows, scores)) in enumerate(zip(queries, sharing, strict=True)):
            if not len(rows):
                continue
            products = self._eight_bit_rows.compare(rows, query)
            if near < k:
                # The rows that would be compared if no more than the near ones were asked for.
                compared = best_places(scores, COMPARED * near)
                first = compared[_best_first(products[compared], near)]
                others = np.ones(len(rows), dtype=bool)
                others[first] = False
                behind = np.flatnonzero(others)
                behind = behind[_best_first(products[behind], k - len(first))]
                best = np.concatenate((first, behind))
            else:
                best = _best_first(products, k)
            similarities[i, : len(best)] = products[best]
            found[i, : len(best)] = rows[best]
        return similarities, found

    @cached_property
    def _eight_bit_rows(self) -> EightBitRows:
        return eight_bit_rows(self.index)

    def rows_of(self, names: np.ndarray) -> np.ndarray:
        """RETURNS (np.ndarray): (n,) int64, the row of each name's record; -1 for one that has none, and for -1."""
        # Of the same kind, or a search would make another copy of all names.
        names = names.astype(self.names.dtype)
        places = np.minimum(np.searchsorted(self.names, names), max(self.n_rows - 1, 0))
        found = self.names[places] == names if self.n_rows else np.zeros(len(names), dtype=bool)
        return np.where(found, places, -1)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """RETURNS (np.ndarray): (n, width) float32, the vectors of rows, as exact as the index keeps them."""
        out = np.zeros((len(rows), self.width), dtype=np.float32)
        for start in range(0, len(rows), DECODED):
            part = slice(start, start + DECODED)
            out[part, self.n_empty :] = self.index.reconstruct_batch(rows[part])
        return out


def _best_first(products: np.ndarray, limit: int) -> np.ndarray:
    """RETURNS (np.ndarray): int64, the places of the highest products, highest first; of equals the first."""
    best = best_places(products, limit)
    return best[np.argsort(-products[best], kind="stable")]


def make_row_vectors(
    vectors: np.ndarray,
    names: np.ndarray,
    fingerprint: str,
    *,
    n_empty: int = 0,
    factory: str = "",
    make_postings: Callable[[], Postings] | None = None,
) -> RowVectors:
    """Index the vectors of names.

    vectors (np.ndarray): (n_rows, width - n_empty), unit length; see `row_buffer`.
    names (np.ndarray): (n_rows,) int, their records, rising.
    fingerprint (str): Of the encoder that made the vectors.
    n_empty (int): Columns in front that are 0 in all rows, and that `vectors` lacks: the
        context channel. What is left is then the surface channel alone.
    factory (str): FAISS factory string; chosen by the rows if empty.
    make_postings (Callable | None): Returns postings of the rows; called for an index
        that is searched by them.
    RETURNS (RowVectors): The index with its rows.
    RAISES (MetricELError): E141 for a factory string that FAISS cannot use here.
    """
    by_surface = n_empty > 0 and make_postings is not None
    plan = IndexPlan(factory) if factory else plan_index(vectors, by_surface=by_surface)
    index = build_index(vectors, plan)
    postings = make_postings() if plan.has_postings and make_postings is not None else None
    return RowVectors(index, names.astype(np.int32), fingerprint, n_empty, plan.factory, postings)


def write_vectors(vectors: RowVectors, folder: Path) -> None:
    """Write vectors into a folder of their own, in one step.

    vectors (RowVectors): What to write.
    folder (Path): Made or replaced.
    """
    with replaced_folder(folder) as fresh:
        write_index(vectors.index, fresh)
        if vectors.postings is not None:
            write_postings(vectors.postings, fresh)
        arrays = {"names": vectors.names}
        if vectors.fit is not None:
            arrays["ngram_weights"] = vectors.fit.weights
        np.savez(fresh / ROWS_FILE, **arrays)  # type: ignore[arg-type]
        content = {
            "fingerprint": vectors.fingerprint,
            "fitted_from": vectors.fit.start if vectors.fit is not None else None,
            "width": vectors.width,
            "rows": vectors.n_rows,
            "factory": vectors.factory,
            "search": search_settings(vectors.index),
        }
        write_manifest(fresh, content)


def read_vectors(folder: Path) -> RowVectors | None:
    """Open the vectors of a folder.

    folder (Path): As `write_vectors` makes it.
    RETURNS (RowVectors | None): None if the folder holds no vectors, or those of version 0.1
        with rows of entities, or in another order than that of names: they are made anew.
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
            names = rows["names"] if "names" in rows else _names_of_version_0_1(rows)
            start = manifest.get("fitted_from")
            fit = NgramFit(start, rows["ngram_weights"]) if start else None
    except (RuntimeError, MemoryError, ValueError, KeyError, TypeError, OSError, BadZipFile) as err:
        raise MetricELError(Errors.E135.format(path=folder, reason=err)) from err
    if names is None:
        return None
    if len(names) != index.ntotal:
        reason = f"{index.ntotal} vectors of {len(names)} names"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    if postings is not None and len(postings.norms) != index.ntotal:
        reason = f"{index.ntotal} vectors, postings of {len(postings.norms)}"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    n_empty = manifest["width"] - index.d
    if n_empty < 0:
        reason = f"vectors of {index.d} columns instead of {manifest['width']}"
        raise MetricELError(Errors.E135.format(path=folder, reason=reason))
    fingerprint, factory = manifest["fingerprint"], manifest["factory"]
    return RowVectors(index, names, fingerprint, n_empty, factory, postings, fit)


def _names_of_version_0_1(rows: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """RETURNS (np.ndarray | None): (n_rows,) int32, the name of each row; None if a row is of an entity, or they do not rise."""
    names = rows["refs"]
    return None if rows["kinds"].any() or (np.diff(names) <= 0).any() else names


def _apply(search: dict[str, Any], index: faiss.Index) -> None:
    set_search(index, probes=int(search["probes"]), k_factor=float(search["k_factor"]))
