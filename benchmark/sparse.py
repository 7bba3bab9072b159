"""Exact nearest neighbours of sparse vectors: what an approximate index approximates."""

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

Neighbours = tuple[np.ndarray, np.ndarray]
"""Rows and cosine distances, (k,) each, the nearest first."""


class SparseIndex:
    """Cosine search over all rows, with nmslib's way of asking.

    vectors (csr_matrix): (n, width), of any length.
    block (int): Queries that are multiplied at a time.
    """

    def __init__(self, vectors: sparse.csr_matrix, *, block: int = 32) -> None:
        self.block = block
        unit = normalize(vectors.astype(np.float32))
        # Row i holds the vectors that have feature i: the posting lists.
        self._postings = unit.T.tocsr()

    def knnQueryBatch(  # noqa: N802 - the name that nmslib's callers use
        self, queries: sparse.csr_matrix, k: int = 10, num_threads: int = 0
    ) -> list[Neighbours]:
        """Find the nearest rows.

        queries (csr_matrix): (n, width).
        k (int): Rows for each; fewer where fewer share any feature with the query.
        num_threads (int): Ignored.
        RETURNS (list[Neighbours]): For each query; rows of one distance in their order.
        """
        unit = normalize(queries.astype(np.float32)).tocsr()
        found: list[Neighbours] = []
        for start in range(0, unit.shape[0], self.block):
            products = unit[start : start + self.block] @ self._postings
            for first, last in zip(products.indptr[:-1], products.indptr[1:], strict=True):
                found.append(nearest(products.indices[first:last], products.data[first:last], k))
        return found


def nearest(rows: np.ndarray, similarities: np.ndarray, k: int) -> Neighbours:
    """Take the k most similar rows.

    rows (np.ndarray): (n,).
    similarities (np.ndarray): (n,).
    k (int): How many.
    RETURNS (Neighbours): At most k, ties by row.
    """
    if len(rows) > k:
        least = np.partition(similarities, len(rows) - k)[len(rows) - k]
        above, tied = np.flatnonzero(similarities > least), np.flatnonzero(similarities == least)
        tied = tied[np.argsort(rows[tied])][: k - len(above)]
        kept = np.concatenate((above, tied))
        rows, similarities = rows[kept], similarities[kept]
    order = np.lexsort((rows, -similarities))
    return rows[order], 1.0 - similarities[order]
