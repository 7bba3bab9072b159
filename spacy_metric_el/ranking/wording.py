"""How the wording of a mention and of a name relate, beyond the cosines of their n-grams."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..names import normalise_name
from ..segments import spread

_PLURAL = re.compile(r"(?<=[a-z]{3})s\b")
_DIGRAPH = re.compile(r"ae|oe")
_WORD = re.compile(r"\w+")

WORDING_FEATURES = ("same_words", "word_jaccard", "word_cover", "same_head")


class Wording(NamedTuple):
    """The words of a text, without number, order and British digraphs.

    words (frozenset[str]): The distinct words.
    head (str): The last word, which is the head of most English noun phrases.
    """

    words: frozenset[str]
    head: str


def read_wording(text: str) -> Wording:
    """Take a text apart.

    text (str): A mention or a name.
    RETURNS (Wording): Its words; no words and an empty head for a text without any.
    """
    singular = _PLURAL.sub("", normalise_name(text))
    words = _WORD.findall(_DIGRAPH.sub("e", singular))
    return Wording(frozenset(words), words[-1] if words else "")


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
    numbers: dict[str, int] = {}
    my_words, my_offsets, my_heads = _number_words(mentions, numbers)
    their_words, their_offsets, their_heads = _number_words(theirs, numbers)
    owners = owners[named]
    mine = np.repeat(np.arange(len(mentions)), np.diff(my_offsets)) * len(numbers) + my_words
    n_mine, n_theirs = np.diff(my_offsets)[owners], np.diff(their_offsets)[places]
    pairs, words = spread(their_offsets[places], n_theirs)
    keys = owners[pairs] * len(numbers) + their_words[words]
    shared = np.bincount(pairs[np.isin(keys, mine)], minlength=len(named))
    union = n_mine + n_theirs - shared
    out = np.zeros((len(names), len(WORDING_FEATURES)), dtype=np.float32)
    out[named, 0] = (shared == union) & (shared > 0)
    out[named, 1] = shared / np.maximum(union, 1)
    out[named, 2] = shared / np.maximum(n_theirs, 1)
    out[named, 3] = (my_heads[owners] == their_heads[places]) & (shared > 0)
    return out


def _number_words(
    wordings: Sequence[Wording], numbers: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray, np.ndarray]): The numbers of all words, where those of each wording start and end, and those of the heads; new words get numbers."""
    lengths = [len(wording.words) for wording in wordings]
    words = [numbers.setdefault(word, len(numbers)) for own in wordings for word in own.words]
    heads = [numbers.get(wording.head, -1) for wording in wordings]
    return (
        np.asarray(words, dtype=np.int64),
        np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))),
        np.asarray(heads, dtype=np.int64),
    )
