"""Knowledge bases of many rows: built here, measured in processes of their own."""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import faiss
import numpy as np
import srsly

from spacy_metric_el.geometry import row_products
from spacy_metric_el.kb import Entity, FaissKnowledgeBase
from spacy_metric_el.kb.index.faiss_index import search_settings
from spacy_metric_el.kb.index.postings import Postings, build_postings
from spacy_metric_el.kb.index.row_vectors import RowVectors, make_row_vectors
from spacy_metric_el.text import normalise_name

from ..errors import BenchmarkError, Errors
from .probe import MIB, TOP_K

NAMES_OF_A_CONCEPT = 3
"""In the UMLS it is 2 to 4."""

EMPTY = 1
"""Columns in front that are 0, where a context channel would stand."""

EXACT_QUERIES = 2_000
BLOCK = 65_536
SAME = 1e-3
"""Rows this near to each other are one, at the precision that an index keeps."""


def measure_rows(
    names: Sequence[str],
    vectors: np.ndarray,
    queries: np.ndarray,
    texts: Sequence[str],
    *,
    by_surface: bool = False,
    factory: str = "",
    exact: bool = True,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Build a knowledge base of vectors, and measure what it takes and finds.

    names (Sequence[str]): (n,), distinct.
    vectors (np.ndarray): (n, width), theirs; may be mapped from a file.
    queries (np.ndarray): (q, width) float32 unit vectors.
    texts (Sequence[str]): (q,) what the queries are vectors of.
    by_surface (bool): Whether vectors are of the surface channel alone, so that an index
        may be searched by texts.
    factory (str): FAISS factory string; the one for so many rows if empty.
    exact (bool): Whether to compare with exact search.
    folder (Path | None): Where to build it.
    RETURNS (dict[str, Any]): Seconds, MiB, mentions a second, and recall.
    """
    with tempfile.TemporaryDirectory(prefix="bench-kb-", dir=folder) as work:
        path, asked, found = Path(work) / "kb", Path(work) / "queries.npy", Path(work) / "rows.npy"
        written = Path(work) / "texts.json"
        started = perf_counter()
        kb = FaissKnowledgeBase.from_sources([concepts(names)], work_folder=work)
        result: dict[str, Any] = {"names": len(names), "tables_seconds": perf_counter() - started}
        # Records are sorted by the hashes of names, and vectors are theirs.
        places = places_of(kb, names)
        n_empty = EMPTY if by_surface else 0
        started = perf_counter()
        kb.vectors = index_names(kb, Reordered(vectors, places), n_empty, factory, Path(work))
        result["index_seconds"] = perf_counter() - started
        result["index"] = kb.vectors.factory
        result["width"] = vectors.shape[1]
        result["postings"] = kb.vectors.postings is not None
        result["search"] = search_settings(kb.vectors.index)
        kb.to_disk(path)
        del kb
        result["disk_mib"] = size_of(path)
        result["build_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        np.save(asked, np.pad(np.asarray(queries, dtype=np.float32), ((0, 0), (n_empty, 0))))
        srsly.write_json(written, list(texts))
        result |= in_own_process("measure", path, asked, written, found)
        if exact:
            rows = np.load(found)
            rows = np.where(rows < 0, rows, places[rows])
            result |= recall(vectors, queries[:EXACT_QUERIES], rows)
    return result


def index_names(
    kb: FaissKnowledgeBase, vectors: "Reordered", n_empty: int, factory: str, work_folder: Path
) -> RowVectors:
    """RETURNS (RowVectors): A row for each name of a knowledge base; see `make_row_vectors`."""
    records = kb.records

    def make_postings() -> Postings:
        return build_postings(
            lambda rows: records.names["name"].take(rows).to_pylist(), len(vectors), work_folder
        )

    return make_row_vectors(
        vectors,  # type: ignore[arg-type]
        np.arange(records.n_names),
        "benchmark",
        n_empty=n_empty,
        factory=factory,
        make_postings=make_postings,
    )


class Reordered:
    """Rows of an array in another order, read when they are asked for.

    rows (np.ndarray): (n, width).
    order (np.ndarray): (n,) int64.
    """

    def __init__(self, rows: np.ndarray, order: np.ndarray) -> None:
        self.rows, self.order = rows, order
        self.shape = (len(order), rows.shape[1])

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        wanted = self.order[places]
        # In the order of the file, which may be larger than memory.
        order = np.argsort(wanted, kind="stable")
        out = np.empty((len(wanted), self.shape[1]), dtype=self.rows.dtype)
        out[order] = self.rows[wanted[order]]
        return out


def concepts(names: Sequence[str]) -> Any:
    """YIELDS (Entity): Concepts that share the names out."""
    for i in range(0, len(names), NAMES_OF_A_CONCEPT):
        own = list(names[i : i + NAMES_OF_A_CONCEPT])
        yield Entity(f"C{i // NAMES_OF_A_CONCEPT:07d}", own[0], own, [], None)


def places_of(kb: FaissKnowledgeBase, names: Sequence[str]) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) int64, for each name's record its place among the names."""
    place = {normalise_name(name): i for i, name in enumerate(names)}
    keys = kb.records.names["key"].to_pylist()
    return np.fromiter((place[key] for key in keys), dtype=np.int64, count=len(keys))


def size_of(folder: Path) -> float:
    """RETURNS (float): MiB of the files of a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / MIB


def in_own_process(way: str, *arguments: object) -> dict[str, float]:
    """RETURNS (dict[str, float]): What `probe` prints. RAISES (MetricELError): E412 if it fails."""
    script = [sys.executable, "-m", "benchmark.kb.probe", way, *map(str, arguments)]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(script, capture_output=True, text=True, cwd=root)
    if ended.returncode:
        reason = " ".join(ended.stderr.split())[-300:] or f"exit code {ended.returncode}"
        raise BenchmarkError(Errors.E412.format(way=way, reason=reason))
    return json.loads(ended.stdout.splitlines()[-1])


def recall(vectors: np.ndarray, queries: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Compare what was found with exact search.

    vectors (np.ndarray): (n, width).
    queries (np.ndarray): (q, width) float32.
    found (np.ndarray): (at least q, 64) rows.
    RETURNS (dict[str, float]): recall@1, where rows that are as near as the nearest count,
        and recall@64: the share of the 64 nearest.
    """
    similarities, nearest = exact_search(vectors, queries)
    first = np.asarray(vectors[found[: len(queries), 0]], dtype=np.float32)
    as_near = row_products(queries, first) >= similarities[:, 0] - SAME
    as_near &= found[: len(queries), 0] >= 0
    pairs = zip(nearest, found, strict=False)
    shares = [len(np.intersect1d(a, b)) / len(a) for a, b in pairs]
    return {"recall_at_1": float(as_near.mean()), "recall_at_64": float(np.mean(shares))}


def exact_search(vectors: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): Inner products and rows of the 64 nearest, (q, 64) each, in blocks of rows."""
    heap = faiss.ResultHeap(len(queries), TOP_K, keep_max=True)
    for start in range(0, len(vectors), BLOCK):
        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(np.ascontiguousarray(vectors[start : start + BLOCK], dtype=np.float32))
        similarities, rows = flat.search(queries, min(TOP_K, flat.ntotal))
        heap.add_result(D=similarities, I=rows + start)
    heap.finalize()
    return heap.D, heap.I
