"""FAISS: which index for how many rows, building it, keeping it on disk."""

import os
from math import log2, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from ...errors import Errors, MetricELError

INDEX_FILE = "index.faiss"
REFINE_FILE = "refine.faiss"

EXACT_ROWS = 5_000
"""Up to here rows are compared one by one; above, product quantisation goes first, which
takes a fifth of the time for 5,000 rows, and a twentieth for 50,000."""

LARGE_ROWS = 400_000
"""From here on the codes are shorter, and only the nearest clusters of rows are searched,
where rows form clusters."""

SURFACE_ROWS = 100_000
"""From here on a text is compared only with rows that share n-grams with it, where rows are
of the surface channel alone. For fewer rows all codes are compared as fast."""

CLUSTERED = 0.93
"""Share of a row's neighbours that its nearest clusters must hold to be searched alone."""

SEARCHED = 8
"""One cluster in so many is searched; fewer, where there are more than a thousand of them."""

REFINE_FACTOR = 4.0
"""Rows re-compared, per row asked for, unless the tier says otherwise."""

SAMPLE = 65_536
"""Rows that quantisers are trained with."""

POINTS_PER_CENTROID = 40
ADDED = 65_536
"""Rows that are added together."""

WRITTEN = 2**20
"""Bytes that are written together."""

NEIGHBOURS = 64


class IndexPlan(NamedTuple):
    """An index, and how it is searched.

    factory (str): FAISS factory string, for inner products.
    k_factor (float): Rows re-compared, per row asked for, where the index refines.
    has_postings (bool): Whether a search by text only looks at rows that share n-grams
        with it; see `postings`.
    """

    factory: str
    k_factor: float = REFINE_FACTOR
    has_postings: bool = False


class EightBitRows(NamedTuple):
    """The rows of an index at 8 bits a number, as they lie in its file.

    codes (np.ndarray): (n, width) uint8, not copied.
    low (np.ndarray): (width,) float32, the value that code 0 stands for.
    step (np.ndarray): (width,) float32, by which the value grows from code to code.
    """

    codes: np.ndarray
    low: np.ndarray
    step: np.ndarray

    def compare(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Compare a query with some rows, ten times faster than FAISS decodes them.

        rows (np.ndarray): (k,) int64.
        query (np.ndarray): (width,) float32.
        RETURNS (np.ndarray): (k,) float32 inner products; rows that are equal come out
            equal, which a product by BLAS does not promise.
        """
        codes = self.codes.take(rows, axis=0).astype(np.float32)
        return np.einsum("ij,j->i", codes, query * self.step) + query @ self.low


def eight_bit_rows(index: faiss.Index) -> EightBitRows:
    """RETURNS (EightBitRows): The rows of an index of the factory string `SQ8`."""
    stored: Any = faiss.downcast_index(index)
    n_rows, width = stored.ntotal, stored.d
    low, spread = faiss.vector_to_array(stored.sq.trained).reshape(2, width)
    codes = faiss.rev_swig_ptr(stored.codes.data(), n_rows * width).reshape(n_rows, width)
    # A code stands for the middle of its step.
    return EightBitRows(codes, low + spread * np.float32(0.5 / 255), spread / np.float32(255))


def _one_thread_after_fork() -> None:
    # A forked child hangs in its first search if the parent has searched with several threads.
    faiss.omp_set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread_after_fork)


def plan_index(vectors: np.ndarray, *, by_surface: bool = False) -> IndexPlan:
    """Choose an index.

    Measured on a million 384-wide vectors, 64 nearest rows, one thread
    (`python -m benchmark.kb.run`): MiniLM's vectors of names form clusters, and one list in eight holds 0.96
    of the nearest rows. Vectors of the surface channel do not; among other vectors
    without clusters, short codes of all rows are compared faster than as many clusters as
    that would take.

    vectors (np.ndarray): (n, width) unit vectors; of many, a sample is looked at.
    by_surface (bool): Whether they are of the surface channel alone, so that rows that
        are near to a text share n-grams with it.
    RETURNS (IndexPlan): The index for them.
    """
    n_rows, width = vectors.shape
    if n_rows <= EXACT_ROWS or width % 2:
        return IndexPlan("Flat")
    if by_surface and n_rows >= SURFACE_ROWS:
        return IndexPlan("SQ8", 1.0, has_postings=True)
    if n_rows < LARGE_ROWS:
        return IndexPlan(f"PQ{width // 2}x4fs,Refine(SQfp16)")
    n_lists = 2 ** round(log2(sqrt(n_rows)))
    if share_in_clusters(sample_rows(vectors, SAMPLE), n_lists) < CLUSTERED:
        return IndexPlan(f"PQ{_subspaces(width, 4)}x4fs,Refine(SQ8)", 16.0)
    return IndexPlan(f"IVF{n_lists},PQ{_subspaces(width, 3)}x4fs,Refine(SQ8)", 6.0)


def share_in_clusters(
    sample: np.ndarray, n_clusters: int, *, n_queries: int = 256, searched: int = SEARCHED
) -> float:
    """Measure whether neighbours are in the same clusters.

    sample (np.ndarray): (m, width) float32 unit vectors.
    n_clusters (int): Clusters to make; fewer, if there are too few rows for so many.
    n_queries (int): Rows whose neighbours are looked for.
    searched (int): One cluster in so many, the nearest of a row, may hold its neighbours.
    RETURNS (float): The share of the 64 nearest rows that they hold, 0 to 1.
    """
    made = max(1, min(n_clusters, len(sample) // POINTS_PER_CENTROID))
    means = faiss.Kmeans(
        sample.shape[1], made, niter=10, spherical=True, max_points_per_centroid=POINTS_PER_CENTROID
    )
    means.train(sample)
    queries = sample[np.random.default_rng(0).permutation(len(sample))[:n_queries]]
    probes = max(1, made // searched)
    centroids = np.asarray(means.centroids)
    own = (sample @ centroids.T).argmax(axis=1)
    nearest = _largest(queries @ sample.T, NEIGHBOURS)
    probed = _largest(queries @ centroids.T, probes)
    held = [np.isin(own[rows], lists) for rows, lists in zip(nearest, probed, strict=True)]
    return float(np.mean(held))


def build_index(vectors: np.ndarray, plan: IndexPlan | None = None) -> faiss.Index:
    """Index unit vectors for inner products.

    vectors (np.ndarray): (n, width) float32, or float16 in a file; read in parts.
    plan (IndexPlan | None): The index; chosen by the rows if None.
    RETURNS (faiss.Index): The index; row i is vector i.
    RAISES (MetricELError): E141 for a factory string that FAISS cannot use here.
    """
    n_rows, width = vectors.shape
    plan = plan or plan_index(vectors)
    try:
        index = faiss.index_factory(width, plan.factory, faiss.METRIC_INNER_PRODUCT)
        clustered = _clustered(index)
        n_lists = clustered.nlist if clustered is not None else 0
        if clustered is not None:
            clustered.cp.niter = 10
            clustered.cp.max_points_per_centroid = POINTS_PER_CENTROID
        if not index.is_trained:
            index.train(sample_rows(vectors, max(SAMPLE, POINTS_PER_CENTROID * n_lists)))
        for start in range(0, n_rows, ADDED):
            part = vectors[start : start + ADDED]
            index.add(np.ascontiguousarray(part, dtype=np.float32))
    except RuntimeError as err:
        reason = str(err).splitlines()[0]
        raise MetricELError(
            Errors.E141.format(factory=plan.factory, rows=n_rows, width=width, reason=reason)
        ) from err
    set_search(index, probes=count_probes(n_lists), k_factor=plan.k_factor)
    return index


def count_probes(n_lists: int) -> int:
    """RETURNS (int): Clusters to search: of many more, twice as many of four times as many."""
    return min(-(-n_lists // SEARCHED), round(4 * sqrt(n_lists)))


def sample_rows(vectors: np.ndarray, size: int) -> np.ndarray:
    """RETURNS (np.ndarray): (at most size, width) float32, rows drawn with a fixed seed."""
    places = np.random.default_rng(0).permutation(len(vectors))[:size]
    return np.ascontiguousarray(vectors[np.sort(places)], dtype=np.float32)


def set_search(index: faiss.Index, *, probes: int, k_factor: float) -> None:
    """Say how an index is searched.

    index (faiss.Index): As `build_index` makes it.
    probes (int): Clusters searched, if it has any.
    k_factor (float): Rows re-compared, per row asked for, if it refines.
    """
    clustered = _clustered(index)
    if clustered is not None:
        clustered.nprobe = max(1, probes)
    if isinstance(index, faiss.IndexRefine):
        index.k_factor = k_factor


def search_settings(index: faiss.Index) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): What `set_search` takes, as it is now."""
    clustered = _clustered(index)
    return {
        "probes": int(clustered.nprobe) if clustered is not None else 0,
        "k_factor": float(index.k_factor) if isinstance(index, faiss.IndexRefine) else 1.0,
    }


def search_index(
    index: faiss.Index, queries: np.ndarray, k: int, *, near: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest rows.

    index (faiss.Index): As `build_index` makes it.
    queries (np.ndarray): (n, width) float32.
    k (int): Rows for each query.
    near (int | None): The first so many rows are what would be found if no more were asked
        for: an index that refines re-compares as many rows as for these, or k where that is
        more. k if None.
    RETURNS (tuple[np.ndarray, np.ndarray]): Inner products, (n, k) float32, and rows,
        (n, k) int64; -1 where fewer than k rows were found. The near ones, best first, and
        then the others, best first.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    k = min(k, max(index.ntotal, 1))
    if near is None or near >= k or not isinstance(index, faiss.IndexRefine):
        return index.search(queries, k)
    # FAISS re-compares k * k_factor rows.
    settings: Any = {"k_factor": max(index.k_factor * near / k, 1.0)}
    products, rows = index.search(queries, k, params=faiss.IndexRefineSearchParameters(**settings))
    if k > index.k_factor * near:
        # Codes are too coarse to say of the rows that were re-compared which those would be.
        first_products, first_rows = index.search(queries, near)
        for i, first in enumerate(first_rows):
            is_new = ~np.isin(rows[i], first) | (rows[i] < 0)
            others = np.flatnonzero(is_new)[: k - near]
            products[i] = np.append(first_products[i], products[i, others])
            rows[i] = np.append(first, rows[i, others])
    return products, rows


def write_index(index: faiss.Index, folder: Path) -> None:
    """Write an index into a folder; what refines it gets a file of its own, to be mapped.

    index (faiss.Index): As `build_index` makes it.
    folder (Path): That is there.
    RAISES (OSError): If the files cannot be written.
    """
    if isinstance(index, faiss.IndexRefine):
        _write_file(index.base_index, folder / INDEX_FILE)
        _write_file(index.refine_index, folder / REFINE_FILE)
    else:
        _write_file(index, folder / INDEX_FILE)


def read_index(folder: Path) -> faiss.Index:
    """Open an index; see `set_search` for what its files do not say.

    Codes that every search reads are read now, where FAISS copies them in any case; full
    vectors are mapped.

    folder (Path): As `write_index` fills it.
    RETURNS (faiss.Index): The index.
    RAISES (RuntimeError): From FAISS, for files that are damaged.
    """
    refine = folder / REFINE_FILE
    if not refine.is_file():
        return faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC)
    base = faiss.read_index(str(folder / INDEX_FILE))
    return faiss.IndexRefine(base, faiss.read_index(str(refine), faiss.IO_FLAG_MMAP_IFC))


def _write_file(index: faiss.Index, path: Path) -> None:
    # FAISS only prints what goes wrong when it closes a file of its own.
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, WRITTEN))  # type: ignore[attr-defined]


def _clustered(index: faiss.Index) -> Any:
    return faiss.try_extract_index_ivf(index)


def _subspaces(width: int, dimensions: int) -> int:
    """RETURNS (int): Parts of equal size to cut vectors into, of so many dimensions or a few more."""
    return width // next(d for d in range(dimensions, width + 1) if width % d == 0)


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    k = min(k, scores.shape[1])
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
