"""How the wording of a mention and of a name relate, beyond the cosines of their n-grams."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..names import normalise_name

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
    out = np.zeros((len(owners), len(WORDING_FEATURES)), dtype=np.float32)
    for pair, (owner, name) in enumerate(zip(owners.tolist(), names.tolist(), strict=True)):
        if name < 0:
            continue
        mine, theirs = mentions[owner], wording_of(name)
        shared = len(mine.words & theirs.words)
        if shared:
            union = len(mine.words) + len(theirs.words) - shared
            same = shared == union
            out[pair] = same, shared / union, shared / len(theirs.words), mine.head == theirs.head
    return out
