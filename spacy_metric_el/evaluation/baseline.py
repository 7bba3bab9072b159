"""What a dictionary alone can do: the bar that a trained linker has to clear."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
from spacy.strings import get_string_id

from ..text import normalise_name


class ExactLookup:
    """Link a mention by its string: first as in training, else as in the KB.

    train_mentions (Iterable[tuple[str, str]]): Texts and concept ids of the
        training mentions; a composite annotation gives one pair per concept.
    names (Iterable[tuple[str, str]]): Names and concept ids of the KB. Read
        as a stream, and kept as 12 bytes a name beside one string a concept.
    """

    def __init__(
        self, train_mentions: Iterable[tuple[str, str]], names: Iterable[tuple[str, str]]
    ) -> None:
        self._trained = _most_frequent(train_mentions)
        self._hashes, self._rows, self._concepts = _name_table(names)

    def predict(self, text: str) -> str:
        """Look a mention up.

        text (str): The mention as written.
        RETURNS (str): The concept that training linked most often to the
            string, else the KB's concept of that name (the smallest id of
            several, in both), else the empty string.
        """
        name = normalise_name(text)
        return self._trained.get(name) or self._lookup(name)

    def _lookup(self, name: str) -> str:
        if not name:
            return ""
        key = np.uint64(get_string_id(name))
        place = int(np.searchsorted(self._hashes, key))
        if place == len(self._hashes) or self._hashes[place] != key:
            return ""
        return self._concepts[self._rows[place]]


def _most_frequent(train_mentions: Iterable[tuple[str, str]]) -> dict[str, str]:
    """RETURNS (dict[str, str]): Normalised text to its most frequent concept."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, concept in train_mentions:
        name = normalise_name(text)
        if name and concept:
            counts[name][concept] += 1
    return {
        name: min(counter, key=lambda concept: (-counter[concept], concept))
        for name, counter in counts.items()
    }


def _name_table(names: Iterable[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Hash the names and keep the smallest concept of each.

    RETURNS (tuple[np.ndarray, np.ndarray, list[str]]): The sorted hashes
        (names,), the place of each one's concept (names,), and the concepts, sorted.
    """
    # 64-bit hashes of ten million names collide with a chance of three in a million.
    hashes, numbers = array("Q"), array("I")
    numbering: dict[str, int] = {}
    for text, concept in names:
        name = normalise_name(text)
        if name and concept:
            hashes.append(get_string_id(name))
            numbers.append(numbering.setdefault(concept, len(numbering)))
    concepts = sorted(numbering)
    places = np.empty(len(concepts), dtype=np.uint32)
    places[[numbering[concept] for concept in concepts]] = np.arange(len(concepts))
    keys = np.frombuffer(hashes, dtype=np.uint64)
    rows = places[np.frombuffer(numbers, dtype=np.uint32)]
    order = np.lexsort((rows, keys))
    kept, first = np.unique(keys[order], return_index=True)
    return kept, rows[order][first], concepts
