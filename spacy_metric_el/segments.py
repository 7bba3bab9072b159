"""Ragged arrays: values in runs, a run for each mention."""

from collections.abc import Sequence

import numpy as np


def spread(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the places of many runs.

    starts (np.ndarray): (n,) int, the first place of each run.
    lengths (np.ndarray): (n,) int, 0 or more.
    RETURNS (tuple[np.ndarray, np.ndarray]): For each place, in the order of runs, the
        run it belongs to and the place itself, (lengths.sum(),) int64 each.
    """
    return owners_of_lengths(lengths), places_of(starts, lengths)


def places_of(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (lengths.sum(),) int64, the places of many runs; see `spread`."""
    before = np.cumsum(lengths) - lengths
    places = np.repeat(starts - before, lengths)
    places += np.arange(len(places))
    return places


def offsets_of(owners: np.ndarray, n: int) -> np.ndarray:
    """RETURNS (np.ndarray): (n + 1,) int64, where each of n runs starts and ends among sorted owners."""
    return np.searchsorted(owners, np.arange(n + 1)).astype(np.int64)


def offsets_of_lengths(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (n + 1,) int64, where each of n runs starts and ends, by their lengths."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def owners_of_lengths(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (p,) int64, the number of each value's run, by the lengths of the runs."""
    return np.repeat(np.arange(len(lengths)), np.asarray(lengths, dtype=np.int64))


def over_runs(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (p,), the value of each of n runs once for each place of the run; from (n,) values and (n + 1,) offsets."""
    return np.repeat(values, np.diff(offsets))


def starts_run(*keys: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (p,) bool, whether any of the keys, (p,) each, differs from the one before; true for the first."""
    starts = np.zeros(len(keys[0]), dtype=bool)
    starts[:1] = True
    for key in keys:
        starts[1:] |= key[1:] != key[:-1]
    return starts


def segment_max(values: np.ndarray, offsets: np.ndarray, empty: float) -> np.ndarray:
    """Take the largest value of each run.

    values (np.ndarray): (p,) or (p, k).
    offsets (np.ndarray): (n + 1,) int, where runs start and end.
    empty (float): The result for a run without values.
    RETURNS (np.ndarray): (n,) or (n, k).
    """
    return _reduce(np.maximum, values, offsets, empty)


def segment_min(values: np.ndarray, offsets: np.ndarray, empty: float) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) or (n, k), the smallest value of each run; `empty` for one without values."""
    return _reduce(np.minimum, values, offsets, empty)


def segment_sum(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) or (n, k), the sum of each run; 0 for one without values."""
    if values.ndim == 1:
        return _reduce(np.add, values, offsets, 0.0)
    # Here, as spaCy imports this module for its registry.
    from scipy.sparse import csr_matrix

    # numpy adds up rows one number at a time.
    ones, columns = np.ones(len(values), dtype=values.dtype), np.arange(len(values))
    return csr_matrix((ones, columns, offsets), shape=(len(offsets) - 1, len(values))) @ values


def segment_softmax(logits: np.ndarray, offsets: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """Turn the logits of each run into probabilities, with one further logit a run.

    logits (np.ndarray): (p,) float.
    offsets (np.ndarray): (n + 1,) int, where runs start and end.
    extra (np.ndarray): (n,) float, the logit of "none of them".
    RETURNS (np.ndarray): (p,) float. A run's probabilities and that of "none of
        them", which is not returned, sum to one.
    """
    top = np.maximum(segment_max(logits, offsets, -np.inf), extra)
    powers = np.exp(logits - over_runs(top, offsets))
    total = segment_sum(powers, offsets) + np.exp(extra - top)
    return powers / over_runs(total, offsets)


def _reduce(ufunc: np.ufunc, values: np.ndarray, offsets: np.ndarray, empty: float) -> np.ndarray:
    out = np.full((len(offsets) - 1, *values.shape[1:]), empty, dtype=values.dtype)
    filled = np.diff(offsets) > 0
    if filled.any():
        out[filled] = ufunc.reduceat(values, offsets[:-1][filled])
    return out
