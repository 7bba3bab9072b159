"""How the wording of a mention and of a name relate, beyond the cosines of their n-grams."""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..segments import offsets_of_lengths, owners_of_lengths, spread
from ..text import normalise_name

_PLURAL = re.compile(r"(?<=[a-z]{3})s\b")
_DIGRAPH = re.compile(r"ae|oe")
_WORD = re.compile(r"\w+")
_ODD = np.int64(0x1E3779B97F4A7C15)

WORDING_FEATURES = ("same_words", "word_jaccard", "word_cover", "same_head")


class Wording(NamedTuple):
    """The words of a text, without number, order and British digraphs; as Python's hashes,
    which differ from process to process.

    words (frozenset[int]): The distinct words.
    head (int): The last word, which is the head of most English noun phrases; 0 without words.
    """

    words: frozenset[int]
    head: int


def read_wording(text: str) -> Wording:
    """Take a text apart.

    text (str): A mention or a name.
    RETURNS (Wording): Its words.
    """
    singular = _PLURAL.sub("", normalise_name(text))
    words = [hash(word) for word in _WORD.findall(_DIGRAPH.sub("e", singular))]
    return Wording(frozenset(words), words[-1] if words else 0)


def compare_wordings(
    mentions: Sequence[Wording],
    owners: np.ndarray,
    names: np.ndarray,
    wording_of: Callable[[int], Wording],
) -> np.ndarray:
    """Compare each mention with the names of its candidates.

    mentions (Sequence[Wording]): (n,) the mentions.
    owners (np.ndarray): (p,) int, the mention of each pair.
    names (np.ndarray): (p,) int, the name of each pair, -1 for none.
    wording_of (Callable[[int], Wording]): The words of a name.
    RETURNS (np.ndarray): (p, 4) float32, see `WORDING_FEATURES`: whether all words are
        the same, the Jaccard index of the words, the share of the name's words that the
        mention has, whether the heads are the same. All are 0 for a pair without a name.
    """
    named = np.flatnonzero(names >= 0)
    distinct, places = np.unique(names[named], return_inverse=True)
    theirs = [wording_of(name) for name in distinct.tolist()]
    my_words, my_offsets = _join_words(mentions)
    their_words, their_offsets = _join_words(theirs)
    owners = owners[named]
    mine = _mark(my_words, owners_of_lengths(np.diff(my_offsets)))
    n_mine, n_theirs = np.diff(my_offsets)[owners], np.diff(their_offsets)[places]
    pairs, words = spread(their_offsets[places], n_theirs)
    is_shared = np.isin(_mark(their_words[words], owners[pairs]), mine)
    shared = np.bincount(pairs[is_shared], minlength=len(named))
    union = n_mine + n_theirs - shared
    my_heads, their_heads = (
        np.asarray([wording.head for wording in wordings], dtype=np.int64)
        for wordings in (mentions, theirs)
    )
    out = np.zeros((len(names), len(WORDING_FEATURES)), dtype=np.float32)
    out[named, 0] = (shared == union) & (shared > 0)
    out[named, 1] = shared / np.maximum(union, 1)
    out[named, 2] = shared / np.maximum(n_theirs, 1)
    out[named, 3] = (my_heads[owners] == their_heads[places]) & (shared > 0)
    return out


def _join_words(wordings: Sequence[Wording]) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): All words, int64, and where those of each wording start and end."""
    lengths = [len(wording.words) for wording in wordings]
    words = np.fromiter(chain.from_iterable(wording.words for wording in wordings), dtype=np.int64)
    return words, offsets_of_lengths(lengths)


def _mark(words: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) int64, a number for each word of each owner."""
    return words ^ (owners * _ODD)
