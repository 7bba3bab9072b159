"""Columns that grow on disk, against tables in memory."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.building.columns import GrowingTable

SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("text", pa.large_string()),
        ("texts", pa.large_list(pa.large_string())),
        ("flags", pa.large_list(pa.bool_())),
        ("counts", pa.large_list(pa.uint32())),
    ]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
rows = st.tuples(
    st.integers(-5, 5),
    st.none() | texts,
    st.lists(texts, max_size=3),
    st.lists(st.booleans(), max_size=3),
    st.lists(st.integers(0, 2**32 - 1), max_size=3),
)


def make_batch(batch):
    columns = list(zip(*batch, strict=True)) or [[]] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


@given(st.lists(st.lists(rows, max_size=4), max_size=4))
def test_batches_are_one_table(tmp_path_factory, batches):
    table = GrowingTable(SCHEMA, tmp_path_factory.mktemp("columns"))
    for batch in batches:
        table.append(make_batch(batch))
    found = table.finish()
    found.validate(full=True)
    assert table.n_rows == found.num_rows
    assert found.to_pylist() == make_batch([row for batch in batches for row in batch]).to_pylist()
    assert all(column.num_chunks == 1 for column in found.columns)


def test_slices_are_cut_where_they_are(tmp_path):
    table = GrowingTable(SCHEMA, tmp_path)
    whole = make_batch([(i, f"text {i}", [f"a{i}", "b"], [i % 2 == 0], [i]) for i in range(9)])
    table.append(whole.slice(2, 3))
    table.append(pa.concat_tables([whole.slice(7), whole.slice(0, 1)]))
    expected = [whole.to_pylist()[i] for i in (2, 3, 4, 7, 8, 0)]
    assert table.finish().to_pylist() == expected


def test_nothing_can_be_added_after_the_end(tmp_path):
    table = GrowingTable(SCHEMA, tmp_path)
    table.close()
    with pytest.raises(ValueError, match="closed"):
        table.append(make_batch([(1, "a", [], [], [])]))
