"""Counts of pairs of numbers, such as how often a document uses a link; looked up in bulk."""

from typing import NamedTuple

import numpy as np


class PairCounts(NamedTuple):
    """How often pairs of numbers occur; those that do not occur take no room.

    keys (np.ndarray): (k,) int64, sorted: first * n_second + second.
    counts (np.ndarray): (k,) float32.
    n_second (int): The second number of a pair is below it.
    """

    keys: np.ndarray
    counts: np.ndarray
    n_second: int

    def of(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Look pairs up.

        first (np.ndarray): (n,) int.
        second (np.ndarray): (n,) int.
        RETURNS (np.ndarray): (n,) float32, 0 for pairs that do not occur.
        """
        places, found = self.places(first, second)
        values = np.zeros(len(places), dtype=np.float32)
        values[found] = self.counts[places[found]]
        return values

    def places(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[np.ndarray, np.ndarray]): (n,) int64 places in `keys`, and (n,) bool, whether the pair is there at all."""
        keys = np.asarray(first, dtype=np.int64) * self.n_second + second
        places = np.searchsorted(self.keys, keys)
        found = places < len(self.keys)
        found[found] = self.keys[places[found]] == keys[found]
        return places, found


def count_pairs(first: np.ndarray, second: np.ndarray, n_second: int) -> PairCounts:
    """Count pairs.

    first (np.ndarray): (n,) int, 0 or more.
    second (np.ndarray): (n,) int, 0 or more and below `n_second`.
    n_second (int): 1 or more.
    RETURNS (PairCounts): Of the distinct pairs.
    """
    keys = np.asarray(first, dtype=np.int64) * n_second + np.asarray(second, dtype=np.int64)
    distinct, counts = np.unique(keys, return_counts=True)
    return PairCounts(distinct, counts.astype(np.float32), n_second)
