"""Mentions column by column: some of them, and several tables together."""

from itertools import pairwise

import numpy as np
import pytest

from spacy_metric_el.mentions import (
    EncodedMentions,
    MentionTable,
    SpanRef,
    encoded_names,
    join_tables,
)


def make_table(*rows):
    """RETURNS (MentionTable): Of rows of document, text, long form, label and context."""
    documents, written, long, labels, context = zip(*rows, strict=True)
    return MentionTable(
        np.asarray(documents), written, long, labels, np.asarray(context, dtype="float32")
    )


ROWS = [
    (0, "fever", "fever", "SIGN", [1, 0]),
    (0, "MI", "heart attack", "", [0, 1]),
    (4, "cold", "cold", "TEMP", [0.6, 0.8]),
    (7, "ASA", "aspirin", "DRUG", [0.8, 0.6]),
]
TABLE = make_table(*ROWS)


@pytest.fixture
def encoded():
    """The four mentions: the second and the last one are queried by two texts each."""
    return EncodedMentions(
        TABLE,
        np.arange(12, dtype="float32").reshape(6, 2),
        np.asarray([0, 1, 2, 3, 1, 3]),
        np.asarray([True, False, True, False, True, True]),
        np.asarray([True, True, True, True, False, False]),
        ["fever", "heart attack", "cold", "aspirin", "MI", "ASA"],
    )


def same_table(found, expected):
    return (
        found.documents.tolist() == expected.documents.tolist()
        and [list(column) for column in found[1:4]] == [list(column) for column in expected[1:4]]
        and found.context.tolist() == expected.context.tolist()
    )


def test_a_span_is_a_plain_tuple():
    span = SpanRef(2, 5, 7)
    assert span == (2, 5, 7)
    assert (span.doc, span.start, span.end) == (2, 5, 7)


@pytest.mark.parametrize("places", [[0], [3], [1, 2], [0, 1, 2, 3]])
def test_some_rows_of_a_table(places):
    assert same_table(TABLE.take(np.asarray(places)), make_table(*[ROWS[i] for i in places]))


def test_no_rows_of_a_table():
    found = TABLE.take(np.zeros(0, dtype=int))
    assert [len(column) for column in found] == [0] * 5
    assert found.context.shape == (0, 2)


def test_queries_of_mentions(encoded):
    assert encoded.queries_of(np.asarray([1])).tolist() == [1, 4]
    assert encoded.queries_of(np.asarray([0, 3])).tolist() == [0, 3, 5]
    assert encoded.queries_of(np.zeros(0, dtype=int)).tolist() == []


def test_some_mentions_with_their_queries(encoded):
    found = encoded.take(np.asarray([1, 3]))
    assert same_table(found.table, make_table(ROWS[1], ROWS[3]))
    assert found.texts == ["heart attack", "aspirin", "MI", "ASA"]
    # Owners are numbered anew.
    assert found.owners.tolist() == [0, 1, 0, 1]
    assert found.is_written.tolist() == [False, False, True, True]
    assert found.is_long.tolist() == [True, True, False, False]
    assert found.vectors.tolist() == encoded.vectors[[1, 3, 4, 5]].tolist()


def test_all_mentions_with_their_queries(encoded):
    found = encoded.take(np.arange(4))
    assert same_table(found.table, TABLE)
    for ours, theirs in zip(found[1:5], encoded[1:5], strict=True):
        assert ours.tolist() == theirs.tolist()
    assert found.texts == encoded.texts


@pytest.mark.parametrize("cuts", [[0, 4], [0, 1, 4], [0, 2, 2, 4]])
def test_joined_tables_are_one_after_the_other(cuts):
    parts = [TABLE.take(np.arange(start, end)) for start, end in pairwise(cuts)]
    assert same_table(join_tables(parts), TABLE)


def test_names_are_mentions_of_documents_of_their_own():
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    encoded = encoded_names(["cold", "MI"], vectors, 1)
    assert encoded.table.documents.tolist() == [0, 1]
    assert encoded.table.written == encoded.table.long == encoded.texts == ["cold", "MI"]
    assert encoded.table.context.tolist() == [[0], [3]]
    assert encoded.vectors.tolist() == vectors.tolist()
    assert encoded.owners.tolist() == [0, 1]
    assert encoded.is_written.tolist() == encoded.is_long.tolist() == [True, True]
