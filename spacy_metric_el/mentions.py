"""Mentions on their way from documents to candidates: what is handed from room to room."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np


class SpanRef(NamedTuple):
    """A stretch of a document of a batch.

    doc (int): Index of the document.
    start (int): First token.
    end (int): Last token + 1.
    """

    doc: int
    start: int
    end: int


Candidate: TypeAlias = tuple[str, float]
"""A concept id that a mention may mean, and its score: 0 to 1, a probability by a fitted ranker,
else a similarity. A plain pair, as scispaCy's `kb_ents` has them: the garbage collector takes
plain tuples of plain values off its lists, and documents with named ones cost 5 % of linking."""


class MentionTable(NamedTuple):
    """Mentions to link, column by column.

    documents (np.ndarray): (n,) int64, the document of each; those of a document together.
    written (Sequence[str]): (n,) texts as written.
    long (Sequence[str]): (n,) texts with abbreviations replaced by their long forms.
    labels (Sequence[str]): (n,) entity labels; empty where there is none.
    context (np.ndarray): (n, width) float32, unit vectors of the context channel.
    """

    documents: np.ndarray
    written: Sequence[str]
    long: Sequence[str]
    labels: Sequence[str]
    context: np.ndarray

    def take(self, places: np.ndarray) -> "MentionTable":
        """RETURNS (MentionTable): Some of the mentions."""
        written, long, labels = (
            [column[i] for i in places] for column in (self.written, self.long, self.labels)
        )
        return MentionTable(self.documents[places], written, long, labels, self.context[places])


class EncodedMentions(NamedTuple):
    """Mentions and their queries: one by the long form, one as written where that differs.

    table (MentionTable): The n mentions.
    vectors (np.ndarray): (q, width) float32 unit vectors.
    owners (np.ndarray): (q,) int64, the mention of each query; the first n are in order.
    is_written (np.ndarray): (q,) bool, whether the query is of the text as written.
    is_long (np.ndarray): (q,) bool, whether it is of the long form; both, where a
        mention has none.
    texts (Sequence[str]): (q,) what each query is of.
    """

    table: MentionTable
    vectors: np.ndarray
    owners: np.ndarray
    is_written: np.ndarray
    is_long: np.ndarray
    texts: Sequence[str]

    def take(self, places: np.ndarray) -> "EncodedMentions":
        """RETURNS (EncodedMentions): Some of the mentions, at ascending places, with their queries."""
        queries = self.queries_of(places)
        return EncodedMentions(
            self.table.take(places),
            self.vectors[queries],
            np.searchsorted(places, self.owners[queries]),
            self.is_written[queries],
            self.is_long[queries],
            [self.texts[i] for i in queries],
        )

    def queries_of(self, places: np.ndarray) -> np.ndarray:
        """RETURNS (np.ndarray): (k,) int64, the queries of some of the mentions."""
        return np.flatnonzero(np.isin(self.owners, places))


def encoded_names(names: Sequence[str], vectors: np.ndarray, context_width: int) -> EncodedMentions:
    """Take names for mentions, each in a document of its own.

    names (Sequence[str]): (n,) names.
    vectors (np.ndarray): (n, width) float32, of them.
    context_width (int): Width of the context channel, the first part of each vector.
    RETURNS (EncodedMentions): A mention and a query for each.
    """
    n = len(names)
    table = MentionTable(np.arange(n), names, names, [""] * n, vectors[:, :context_width])
    every = np.ones(n, dtype=bool)
    return EncodedMentions(table, vectors, np.arange(n), every, every, names)


def join_tables(tables: Sequence[MentionTable]) -> MentionTable:
    """RETURNS (MentionTable): The mentions of several tables, one table after the other."""
    written, long, labels = (
        [text for table in tables for text in table[column]] for column in (1, 2, 3)
    )
    documents = np.concatenate([table.documents for table in tables])
    context = np.concatenate([table.context for table in tables])
    return MentionTable(documents, written, long, labels, context)
