"""Room for arrays that wait for their place: in memory, or in files without a name."""

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

IN_MEMORY = 2**29
"""Bytes that wait in memory; more of them wait in a file."""


def scratch_array(
    shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None = None
) -> np.ndarray:
    """Make an array of zeros, in a file where it is large.

    shape (tuple[int, ...]): Of the array.
    dtype (npt.DTypeLike): Of its values.
    folder (Path | None): Where the file may grow, which has no name and is gone when the
        array is; the system's folder for such files if None.
    RETURNS (np.ndarray): The array.
    RAISES (OSError): If the disk has no room for the file.
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if n_bytes <= IN_MEMORY:
        return np.zeros(shape, dtype=dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        # A map of a file with holes would end the process when the disk is full.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        # The map stays valid when the file is closed.
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def row_buffer(n_rows: int, width: int, folder: Path | None = None) -> np.ndarray:
    """Make room for vectors that wait for their index.

    n_rows (int): Number of rows.
    width (int): Width of the vectors.
    folder (Path | None): See `scratch_array`.
    RETURNS (np.ndarray): (n_rows, width): float32 in memory, or float16 in a file where
        that takes more than `IN_MEMORY`.
    RAISES (OSError): If the disk has no room for the file.
    """
    small = n_rows * width * 4 <= IN_MEMORY
    return scratch_array((n_rows, width), np.float32 if small else np.float16, folder)
