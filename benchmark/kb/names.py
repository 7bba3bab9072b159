"""As many names as wanted, made of real ones, and other spellings to search them with."""

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from spacy_metric_el.text import normalise_name

from ..errors import BenchmarkError, Errors

TRIES = 20
"""To make a name that is not there yet."""


class Names(NamedTuple):
    """Names to index and names to search with; none is in both.

    indexed (list[str]): (n,), in their normal form, and distinct.
    n_real (int): So many of them come first, and are real.
    queries (list[str]): (q,) real names that were left out.
    parents (np.ndarray): (n - n_real, 2) int32, the real names that each other was made of.
    """

    indexed: list[str]
    n_real: int
    queries: list[str]
    parents: np.ndarray


def make_names(vocabularies: Iterable[Sequence[str]], n: int, *, queries: int, seed: int) -> Names:
    """Draw names of vocabularies, and make more of them where they are too few.

    A made name has the words of one real name but the last, and the last of another.

    vocabularies (Iterable[Sequence[str]]): Real names.
    n (int): Names to index.
    queries (int): Real names to leave out.
    seed (int): Of all that is drawn.
    RETURNS (Names): The names.
    RAISES (MetricELError): E410 if the real names are too few.
    """
    rng = random.Random(seed)
    real = list(dict.fromkeys(normalise_name(name) for names in vocabularies for name in names))
    known = set(real)
    if len(real) <= queries:
        expected = f"less than the {len(real)} names there are"
        raise BenchmarkError(
            Errors.E410.format(setting="queries", value=queries, expected=expected)
        )
    rng.shuffle(real)
    left_out, real = real[:queries], real[queries:]
    indexed = real[:n]
    n_real = len(indexed)
    parents = np.zeros((n - n_real, 2), dtype=np.int32)
    for _ in range(TRIES * (n - n_real)):
        if len(indexed) == n:
            break
        pair = rng.randrange(n_real), rng.randrange(n_real)
        first, second = (indexed[i].split(" ") for i in pair)
        name = " ".join([*first[: max(1, len(first) - 1)], second[-1]])
        if name not in known:
            known.add(name)
            parents[len(indexed) - n_real] = pair
            indexed.append(name)
    if len(indexed) < n:
        expected = f"at most {len(indexed)}, as {n_real} names give no more"
        raise BenchmarkError(Errors.E410.format(setting="rows", value=n, expected=expected))
    return Names(indexed, n_real, left_out, parents)
