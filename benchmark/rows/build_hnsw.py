"""Build scispaCy's index over stored vectors: VECTORS.npz INDEX.bin THREADS."""

import sys

import nmslib
from scipy import sparse

PARAMETERS = {"M": 100, "efConstruction": 2000, "post": 0}
"""Those of scispaCy."""


def main(vectors: str, output: str, threads: int) -> None:
    """Read the vectors, build the index, and save it."""
    index = nmslib.init(
        method="hnsw", space="cosinesimil_sparse", data_type=nmslib.DataType.SPARSE_VECTOR
    )
    index.addDataPointBatch(sparse.load_npz(vectors))
    index.createIndex({**PARAMETERS, "indexThreadQty": threads}, print_progress=False)
    index.saveIndex(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
