from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.ranking.counts import count_pairs

N_SECOND = 4
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, N_SECOND - 1)), max_size=12)


def columns(some_pairs):
    return np.asarray(some_pairs, dtype=np.int64).reshape(-1, 2).T


@given(pairs, pairs)
def test_counts_equal_a_counter(counted, asked):
    counts = count_pairs(*columns(counted), N_SECOND)
    expected = Counter(counted)
    assert counts.of(*columns(asked)).tolist() == [expected[pair] for pair in asked]
    assert len(counts.keys) == len(expected)


@given(pairs, pairs)
def test_places_are_those_of_the_pairs_that_occur(counted, asked):
    counts = count_pairs(*columns(counted), N_SECOND)
    places, found = counts.places(*columns(asked))
    assert found.tolist() == [pair in counted for pair in asked]
    there = [divmod(int(key), N_SECOND) for key in counts.keys[places[found]]]
    assert there == [pair for pair in asked if pair in counted]


def test_large_numbers_do_not_overflow():
    first, second = np.asarray([100_000, 100_001], dtype=np.int32), np.asarray([7, 7], np.int32)
    counts = count_pairs(first, second, 3_000_000)
    assert counts.of(first, second).tolist() == [1.0, 1.0]
    assert counts.of(first, second + 1).tolist() == [0.0, 0.0]
