import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.segments import (
    offsets_of,
    offsets_of_lengths,
    over_runs,
    owners_of_lengths,
    segment_max,
    segment_min,
    segment_softmax,
    segment_sum,
    spread,
    starts_run,
)

numbers = st.integers(-20, 20).map(lambda n: n / 4)
runs_of_numbers = st.lists(st.lists(numbers, max_size=4), max_size=5)


def ragged(runs):
    """RETURNS (tuple): The values of lists of numbers, and where the lists start and end."""
    values = np.asarray([value for run in runs for value in run], dtype=np.float32)
    return values, np.cumsum([0, *map(len, runs)])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=6))
def test_spread_equals_a_loop(runs):
    starts, lengths = np.asarray(runs, dtype=np.int64).reshape(-1, 2).T
    owners, places = spread(starts, lengths)
    expected = [(i, start + j) for i, (start, length) in enumerate(runs) for j in range(length)]
    assert list(zip(owners.tolist(), places.tolist(), strict=True)) == expected


@given(st.lists(st.integers(0, 4), max_size=9).map(sorted), st.integers(5, 6))
def test_offsets_say_where_each_owner_is(owners, n):
    offsets = offsets_of(np.asarray(owners, dtype=np.int64), n)
    assert len(offsets) == n + 1
    places = [list(range(*offsets[owner : owner + 2])) for owner in range(n)]
    assert places == [[i for i, x in enumerate(owners) if x == owner] for owner in range(n)]


@given(st.lists(st.integers(0, 4), max_size=6))
def test_owners_and_offsets_of_lengths_equal_loops(lengths):
    expected = [i for i, length in enumerate(lengths) for _ in range(length)]
    for given_lengths in (lengths, np.asarray(lengths, dtype=np.uint32)):
        assert owners_of_lengths(given_lengths).tolist() == expected
        offsets = offsets_of_lengths(given_lengths)
        assert offsets.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert owners_of_lengths(lengths).dtype == offsets.dtype == np.int64


@given(st.lists(st.tuples(numbers, st.integers(0, 4)), max_size=6))
def test_over_runs_gives_each_place_the_value_of_its_run(runs):
    values = np.asarray([value for value, _ in runs], dtype=np.float32)
    found = over_runs(values, offsets_of_lengths([length for _, length in runs]))
    assert found.tolist() == [value for value, length in runs for _ in range(length)]
    assert found.dtype == values.dtype


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), max_size=9), st.integers(1, 3))
def test_a_run_starts_where_any_key_differs(rows, n_keys):
    keys = np.asarray(rows, dtype=np.int64).reshape(-1, 3).T[:n_keys]
    expected = [i == 0 or rows[i][:n_keys] != rows[i - 1][:n_keys] for i in range(len(rows))]
    assert starts_run(*keys).tolist() == expected


@given(runs_of_numbers, numbers)
def test_extreme_values_and_sum_equal_loops(runs, empty):
    values, offsets = ragged(runs)
    largest = segment_max(values, offsets, empty)
    assert largest.tolist() == [max(run, default=empty) for run in runs]
    smallest = segment_min(values, offsets, empty)
    assert smallest.tolist() == [min(run, default=empty) for run in runs]
    assert segment_sum(values, offsets).tolist() == [sum(run) for run in runs]
    assert largest.dtype == values.dtype


@given(runs_of_numbers)
def test_columns_are_reduced_each_for_itself(runs):
    values, offsets = ragged(runs)
    table = np.stack((values, -values), axis=1)
    found_max, found_sum = segment_max(table, offsets, 7.0), segment_sum(table, offsets)
    for column in (0, 1):
        expected = segment_max(table[:, column], offsets, 7.0)
        assert found_max[:, column].tolist() == expected.tolist()
        assert found_sum[:, column].tolist() == segment_sum(table[:, column], offsets).tolist()


def test_the_largest_of_flags_is_whether_any_is_set():
    flags = np.asarray([False, True, False])
    assert segment_max(flags, np.asarray([0, 2, 2, 3]), False).tolist() == [True, False, False]


@given(runs_of_numbers, st.data())
def test_softmax_equals_a_loop(runs, data):
    extra = data.draw(st.lists(numbers, min_size=len(runs), max_size=len(runs)))
    logits, offsets = ragged(runs)
    found = segment_softmax(logits, offsets, np.asarray(extra, dtype=np.float32))
    expected = []
    for run, nil in zip(runs, extra, strict=True):
        total = sum(math.exp(logit) for logit in run) + math.exp(nil)
        expected += [math.exp(logit) / total for logit in run]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_softmax_of_huge_logits_is_that_of_their_differences(shift):
    logits, offsets = np.asarray([0.0, 1.0, 2.0]), np.asarray([0, 2, 3, 3])
    extra = np.asarray([0.5, -1.0, 3.0])
    expected = segment_softmax(logits, offsets, extra)
    assert segment_softmax(logits + shift, offsets, extra + shift).tolist() == pytest.approx(
        expected.tolist()
    )
    assert np.isfinite(segment_softmax(logits + shift, offsets, extra)).all()
