"""Sorting in runs on disk: the same as sorting at once, with no more held than asked for."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.building.sorting import RowSorter

SCHEMA = pa.schema([("key", pa.string()), ("place", pa.int64()), ("names", pa.list_(pa.string()))])


def sort(rows, folder, *, memory, batch=7, size=5):
    sorter = RowSorter(SCHEMA, ["key", "place"], folder / "runs", memory=memory)
    for start in range(0, len(rows), batch):
        sorter.add(rows[start : start + batch])
    assert sorter.n_rows == len(rows)
    found = []
    for part in sorter.read(size):
        assert 0 < part.num_rows <= size
        found += zip(*(column.to_pylist() for column in part), strict=True)
    return found


keys = st.text(max_size=3) | st.sampled_from(["a", "b"])


@given(
    st.lists(st.tuples(keys, st.integers(0, 9), st.lists(st.text(max_size=3), max_size=2))),
    st.sampled_from([0, 60, 300, 10_000]),
)
def test_rows_come_back_in_order(tmp_path_factory, rows, memory):
    found = sort(rows, tmp_path_factory.mktemp("sort"), memory=memory)
    assert [row[:2] for row in found] == sorted(row[:2] for row in rows)
    assert sorted(map(repr, found)) == sorted(map(repr, rows))


def test_few_rows_touch_no_disk(tmp_path):
    assert sort([("b", 1, []), ("a", 1, [])], tmp_path, memory=10_000)[0] == ("a", 1, [])
    assert list(tmp_path.iterdir()) == []


def test_no_rows():
    sorter = RowSorter(SCHEMA, ["key"], None, memory=0)
    assert list(sorter.read(5)) == []


def test_no_part_is_much_larger_than_a_run(tmp_path, monkeypatch):
    held = []
    sort_tables = RowSorter._sorted

    def spy(sorter, tables):
        held.append(sum(table.num_rows for table in tables))
        return sort_tables(sorter, tables)

    monkeypatch.setattr(RowSorter, "_sorted", spy)
    letters = random.Random(0)
    rows = [(f"{letters.getrandbits(40):x}", i, ["x" * 20]) for i in range(6000)]
    # The first run is of small keys, the others of all.
    rows[:1000] = sorted(rows)[:1000]
    sort(rows, tmp_path, memory=50_000, batch=50, size=500)
    runs = len(list((tmp_path / "runs").iterdir()))
    assert 4 < runs <= 12
    assert len(held) > runs
    assert max(held) < 2.5 * len(rows) / runs


def test_rows_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(MetricELError, match="E140"):
        sort([("a", 1, [])], tmp_path, memory=0)
