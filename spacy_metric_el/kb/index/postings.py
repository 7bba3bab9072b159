"""Postings: which rows share n-grams with a text, so that few of millions are compared.

Rows of the surface channel alone form no clusters that could be searched apart, but two
texts that are near to each other there share rare n-grams. These lists name the rows of
each n-gram; those that share the most are then compared as vectors. Pairs of neighbouring
words and whole names count as n-grams, too.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from tqdm import tqdm

from ...segments import offsets_of_lengths, owners_of_lengths, places_of
from ...stages import stage
from ...text import hash_ngrams, normalise_name
from .buffers import scratch_array

N_BUCKETS = 2**22
MIN_SIZE, MAX_SIZE = 3, 5
"""Characters of an n-gram."""

LONGEST = 2_000
"""Rows in the list of an n-gram: of a frequent one only those of the shortest texts."""

BUDGET = 3_000
"""Rows that are read for a text, from the lists of its rarest n-grams on."""

BLOCK = 65_536
"""Texts that are taken apart together."""

PARTS = 32
"""Files that pairs of n-grams and rows wait in: what is sorted at a time is a 32nd of them."""

TEXTS = 16
"""Texts whose rows are gathered together: what fits into a cache."""

ROW_BITS = 31
WEIGHT_BITS = 10
WEIGHT_SCALE = 32.0
"""Weights are at most 1 + log(2**31) < 2**10 / 32."""


class Postings(NamedTuple):
    """The rows of each n-gram, n-grams being numbered by their hashes.

    offsets (np.ndarray): (N_BUCKETS + 1,) int64, where the rows of each n-gram start and end.
    rows (np.ndarray): (p,) int32, those of short texts first.
    weights (np.ndarray): (N_BUCKETS,) float32, 1 + log((1 + rows) / (1 + rows with the n-gram)).
    norms (np.ndarray): (n_rows,) float32, of each row's n-grams, by their weights.
    """

    offsets: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    norms: np.ndarray


def build_postings(
    texts_of: Callable[[np.ndarray], Sequence[str]],
    n_rows: int,
    folder: Path | None = None,
    *,
    progress: bool = False,
) -> Postings:
    """List the rows of each n-gram.

    The pairs of n-grams and rows wait in files, a file for a range of n-grams, and are
    sorted one file after the other: 8 bytes a pair, some 45 pairs a name.

    texts_of (Callable[[np.ndarray], Sequence[str]]): Returns the texts of rows, (n,) int64.
    n_rows (int): Number of rows.
    folder (Path | None): Where the files grow, which have no names; see `scratch_array`.
    progress (bool): Whether to show a progress bar, where there are many rows.
    RETURNS (Postings): The lists.
    RAISES (OSError): If the disk has no room for them.
    """
    frequencies = np.zeros(N_BUCKETS, dtype=np.int64)
    sizes = np.zeros(n_rows, dtype=np.int32)
    bounds = np.linspace(0, N_BUCKETS, PARTS + 1).astype(np.int64)
    hidden = None if progress and n_rows > BLOCK else True
    with (
        ExitStack() as stack,
        tqdm(
            total=n_rows, desc="Listing n-grams", unit=" names", disable=hidden, leave=False
        ) as bar,
    ):
        files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(PARTS)]
        for start in range(0, n_rows, BLOCK):
            block = np.arange(start, min(start + BLOCK, n_rows))
            owners, ngrams = _distinct_ngrams(texts_of(block))
            frequencies += np.bincount(ngrams, minlength=N_BUCKETS)
            sizes[block] = np.bincount(owners, minlength=len(block))
            # N-gram and row in one number, so that sorting numbers sorts pairs.
            pairs = (ngrams << ROW_BITS) | (owners + start)
            part_of = np.searchsorted(bounds, ngrams, side="right") - 1
            for part, file in enumerate(files):
                file.write(pairs[part_of == part])
            bar.update(len(block))
        offsets = offsets_of_lengths(np.minimum(frequencies, LONGEST))
        weights = (1.0 + np.log((1.0 + n_rows) / (1.0 + frequencies))).astype(np.float32)
        rows = scratch_array((int(offsets[-1]),), np.int32, folder)
        squares = np.zeros(n_rows)
        # Rows are numbered anew, short texts first: the first rows of a sorted list are then the
        # shortest, and a list is cut by taking its start.
        by_size = np.argsort(sizes, kind="stable")
        rank = np.empty(n_rows, dtype=np.int64)
        rank[by_size] = np.arange(n_rows)
        for file, (first, last) in zip(files, pairwise(bounds), strict=True):
            file.seek(0)
            pairs = np.frombuffer(file.read(), dtype=np.int64)
            ngrams, owners = pairs >> ROW_BITS, pairs & ((1 << ROW_BITS) - 1)
            # Every n-gram of a row counts for its norm, those whose list leaves the row out as well.
            squares += np.bincount(owners, weights[ngrams], minlength=n_rows)
            ordered = np.sort((ngrams << ROW_BITS) | rank[owners])
            starts = np.cumsum(frequencies[first:last]) - frequencies[first:last]
            kept = np.minimum(frequencies[first:last], LONGEST)
            shortest = ordered[places_of(starts, kept)] & ((1 << ROW_BITS) - 1)
            rows[offsets[first] : offsets[last]] = by_size[shortest]
    return Postings(offsets, rows, weights, np.sqrt(squares).astype(np.float32))


def gather_rows(
    postings: Postings, texts: Sequence[str], limit: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find the rows that share the most n-grams with each text, by weight.

    Rows are scored by the weights of the n-grams that they share with the text and that
    were read, over the norm of all of theirs: a cosine but for the text's own norm.

    postings (Postings): The lists.
    texts (Sequence[str]): (n,) texts.
    limit (int): Rows for each text at most.
    YIELDS (tuple[np.ndarray, np.ndarray]): For each text the rows, (m,) int64, rising, and
        their scores, (m,) float32.
    """
    for start in range(0, len(texts), TEXTS):
        with stage("lists of n-grams"):
            offsets, rows, scores = _score_rows(postings, texts[start : start + TEXTS])
            kept = [
                first + best_places(scores[first:last], limit)
                for first, last in pairwise(offsets.tolist())
            ]
        yield from ((rows[places], scores[places]) for places in kept)


def best_places(scores: np.ndarray, limit: int) -> np.ndarray:
    """Find the highest scores.

    scores (np.ndarray): (n,) without NaN.
    limit (int): Places at most; 1 or more.
    RETURNS (np.ndarray): int64, the places of the highest scores, rising; of equals the first.
    """
    if len(scores) <= limit:
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    best = np.flatnonzero(scores >= least)
    if len(best) == limit:
        return best
    above = scores > least
    equal = np.flatnonzero(scores == least)[: limit - int(above.sum())]
    return np.sort(np.concatenate((np.flatnonzero(above), equal)))


def write_postings(postings: Postings, folder: Path) -> None:
    """Write the lists into a folder, a file for each of the arrays."""
    for field, values in postings._asdict().items():
        np.save(folder / _file_name(field), values)


def read_postings(folder: Path) -> Postings | None:
    """Map the lists of a folder.

    folder (Path): As `write_postings` fills it.
    RETURNS (Postings | None): None if there are none.
    RAISES (ValueError | OSError): For files that are damaged or do not fit together.
    """
    if not (folder / _file_name("rows")).is_file():
        return None
    paths = {field: folder / _file_name(field) for field in Postings._fields}
    arrays = {field: np.asarray(np.load(path, mmap_mode="r")) for field, path in paths.items()}
    postings = Postings(**arrays)
    expected: dict[str, Any] = {"offsets": (N_BUCKETS + 1,), "weights": (N_BUCKETS,)}
    for field, shape in expected.items():
        if arrays[field].shape != shape:
            raise ValueError(f"{arrays[field].shape} {field} of n-grams in place of {shape}")
    if int(postings.offsets[-1]) != len(postings.rows):
        raise ValueError(f"{len(postings.rows)} rows of n-grams in place of {postings.offsets[-1]}")
    return postings


def _score_rows(postings: Postings, texts: Sequence[str]) -> tuple[np.ndarray, ...]:
    """RETURNS (tuple[np.ndarray, np.ndarray, np.ndarray]): Where the rows of each text start and end, the rows, rising for each text, and their scores, float32."""
    owners, ngrams = _distinct_ngrams(texts)
    weights = postings.weights[ngrams]
    # The lists of a text are read rarest n-gram first, until the budget is spent; the one that
    # it ends in is read in part.
    order = np.lexsort((ngrams, -weights, owners))
    owners, ngrams, weights = owners[order], ngrams[order], weights[order]
    starts = postings.offsets[ngrams]
    lengths = postings.offsets[ngrams + 1] - starts
    before = np.cumsum(lengths) - lengths
    first = np.searchsorted(owners, owners)
    lengths = np.clip(BUDGET - (before - before[first]), 0, lengths)
    # Text, row and weight in one number each: a sort of numbers is several times faster
    # than a sort of pairs by their keys.
    packed = postings.rows[places_of(starts, lengths)].astype(np.int64)
    packed <<= WEIGHT_BITS
    scaled = (weights * WEIGHT_SCALE).astype(np.int64)
    packed |= np.repeat((owners << (ROW_BITS + WEIGHT_BITS)) | scaled, lengths)
    packed.sort()
    # Sorted, the weights of a text and row are a run: a difference of running sums adds them up.
    pairs = packed >> WEIGHT_BITS
    last = np.flatnonzero(np.append(pairs[1:] != pairs[:-1], np.ones(len(pairs[:1]), dtype=bool)))
    packed &= (1 << WEIGHT_BITS) - 1
    sums = np.diff(np.cumsum(packed)[last], prepend=0)
    pairs = pairs[last]
    rows = pairs & ((1 << ROW_BITS) - 1)
    offsets = np.searchsorted(pairs, np.arange(len(texts) + 1) << ROW_BITS)
    return offsets, rows, sums.astype(np.float32) / postings.norms[rows]


def _distinct_ngrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): Texts and n-grams, int64, each pair once, sorted; none of a text without characters."""
    names = [normalise_name(text) for text in texts]
    with stage("hashing of n-grams"):
        hashes, owners = hash_ngrams(names, min_size=MIN_SIZE, max_size=MAX_SIZE)
    numbers = (hashes % np.uint64(N_BUCKETS)).astype(np.int64)
    # A name of frequent words alone is found by pairs of them, and by itself as a whole.
    phrases = [_phrases(name) for name in names]
    phrase_owners = owners_of_lengths([len(own) for own in phrases])
    phrase_numbers = np.asarray(
        [crc32(phrase.encode("utf8")) % N_BUCKETS for own in phrases for phrase in own],
        dtype=np.int64,
    )
    pairs = np.unique(
        np.concatenate((owners, phrase_owners)) * N_BUCKETS
        + np.concatenate((numbers, phrase_numbers))
    )
    return pairs // N_BUCKETS, pairs % N_BUCKETS


def _phrases(name: str) -> set[str]:
    words = name.split()
    if not words:
        return set()
    return {name, *(f"{first} {second}" for first, second in pairwise(words))}


def _file_name(field: str) -> str:
    return f"postings-{field}.npy"
