"""Unit length and cosines of rows, for arrays of numpy and of cupy."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from thinc.types import Floats2d
from thinc.util import get_array_module

Rows = TypeVar("Rows", np.ndarray, Floats2d)
"""Rows of numpy, or of whichever library a layer's arrays are of."""


def row_lengths(X: Rows) -> Rows:
    """RETURNS (Floats2d): (n, 1) Euclidean lengths of the rows, (n, width); 1 for a row of zeros."""
    xp = get_array_module(X)
    lengths = xp.linalg.norm(X, axis=1, keepdims=True)
    return xp.where(lengths == 0, 1.0, lengths).astype("float32")


def unit_rows(X: Rows) -> Rows:
    """RETURNS (Floats2d): (n, width) rows of length one; a row of zeros stays as it is."""
    return X / row_lengths(X)


def scale_to_unit(X: Rows) -> tuple[Rows, Callable[[Rows], Rows]]:
    """Scale each row to length one; a row of zeros stays as it is.

    X (Floats2d): (n, width).
    RETURNS (tuple[Floats2d, Callable]): The unit rows, (n, width), and the function from
        their gradient to X's.
    """
    lengths = row_lengths(X)
    Y = X / lengths

    def backprop(dY: Rows) -> Rows:
        along = (dY * Y).sum(axis=1, keepdims=True)
        return (dY - Y * along) / lengths

    return Y, backprop


def row_products(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) inner products of the rows of A and B, (n, width) each."""
    return np.einsum("ij,ij->i", A, B)


def row_cosines(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) cosines of the rows of A and B, (n, width) each; 0 where one is all zeros."""
    squares = row_products(A, A) * row_products(B, B)
    return row_products(A, B) / np.sqrt(np.where(squares == 0, 1.0, squares))
