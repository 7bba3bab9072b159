"""From mentions to candidates: the one search, whether a ranker judges what it finds or not."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..geometry import row_cosines
from ..kb.index.row_vectors import RowVectors
from ..kb.records import Records
from ..mentions import Candidate, EncodedMentions
from ..segments import offsets_of_lengths, places_of
from ..settings import LinkerSettings
from ..stages import stage
from .candidates import CandidateTable, Hits, OwnUsage, collect_candidates

DECODED = 8_192
"""Rows that are decoded together: what fits into a cache, nearly."""

RANKED_CANDIDATES = 32
"""Near candidates of a mention that a ranker is given, however many are asked for."""


def retrieve(
    records: Records,
    vectors: RowVectors,
    mentions: EncodedMentions,
    settings: LinkerSettings,
    *,
    top_k: int = RANKED_CANDIDATES,
    own: OwnUsage | None = None,
) -> CandidateTable:
    """Find the candidates of mentions.

    Mentions of the same text have the same candidates where rows are of the surface
    channel alone, and are searched and collected once.

    records (Records): The vocabulary.
    vectors (RowVectors): Of its names, by the encoder of the mentions.
    mentions (EncodedMentions): The n mentions.
    settings (LinkerSettings): `search_rows` and `prior_weight` are used.
    top_k (int): Candidates that are asked for. More rows are searched for more of them
        than the nearest `search_rows` give on average, which adds candidates behind those
        of the nearest ones, and changes none of these.
    own (OwnUsage | None): For training mentions: what to leave out.
    RETURNS (CandidateTable): `top_k` of each mention or `RANKED_CANDIDATES`, whichever is
        more, as far as they are found.
    """
    if own is not None or not vectors.n_empty:
        return _search_and_collect(records, vectors, mentions, settings, top_k=top_k, own=own)
    texts = list(zip(mentions.table.long, mentions.table.written, strict=True))
    first: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(texts):
        first.setdefault(pair, place)
    places = np.fromiter(first.values(), dtype=np.int64)
    distinct = mentions.take(places)
    found = _search_and_collect(records, vectors, distinct, settings, top_k=top_k)
    found = found._replace(queries=mentions.queries_of(places)[found.queries])
    runs = np.searchsorted(places, np.fromiter(map(first.__getitem__, texts), dtype=np.int64))
    starts, lengths = found.offsets[runs], np.diff(found.offsets)[runs]
    return found.take(places_of(starts, lengths), offsets_of_lengths(lengths))


def _search_and_collect(
    records: Records,
    vectors: RowVectors,
    mentions: EncodedMentions,
    settings: LinkerSettings,
    *,
    top_k: int,
    own: OwnUsage | None = None,
) -> CandidateTable:
    rows_per_entity = -(-vectors.n_rows // max(records.n_entities, 1))
    n_rows = max(settings.search_rows, top_k * rows_per_entity)
    with stage("search"):
        hits = search_rows(records, vectors, mentions, n_rows, near=settings.search_rows)
    with stage("candidates"):
        return collect_candidates(
            hits,
            records,
            len(mentions.table.documents),
            limit=max(top_k, RANKED_CANDIDATES),
            prior_weight=settings.prior_weight,
            own=own,
        )


def search_rows(
    records: Records,
    vectors: RowVectors,
    mentions: EncodedMentions,
    n_rows: int,
    *,
    near: int,
) -> Hits:
    """Find the rows that are nearest to mentions, and those of their very texts.

    A name that is the text has similarity 1, whatever the index makes of its vector.

    records (Records): The vocabulary.
    vectors (RowVectors): Of its names.
    mentions (EncodedMentions): The mentions.
    n_rows (int): Rows of each query.
    near (int): So many of them are near.
    RETURNS (Hits): The rows of each query.
    """
    similarities, rows = vectors.search(mentions.vectors, n_rows, texts=mentions.texts, near=near)
    own_rows = vectors.rows_of(name_indices(records, mentions.texts))
    # The text's own row comes first, once.
    rows = np.where(rows == own_rows[:, None], -1, rows)
    rows = np.column_stack((own_rows, rows))
    similarities = np.column_stack((np.ones(len(rows), dtype=np.float32), similarities))
    queries, columns = np.nonzero(rows >= 0)
    found = rows[queries, columns]
    return Hits(
        mentions=mentions.owners[queries],
        queries=queries,
        rows=found,
        names=vectors.names[found].astype(np.int64),
        similarities=similarities[queries, columns],
        is_written=mentions.is_written[queries],
        is_long=mentions.is_long[queries],
        is_exact=columns == 0,
        is_near=columns <= near,
    )


def name_indices(records: Records, texts: Sequence[str]) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) int64, the record of the name that each text is, in its normal form; -1 where there is none."""
    known = {text: records.name_index(text) for text in dict.fromkeys(texts)}
    return np.fromiter(map(known.__getitem__, texts), dtype=np.int64, count=len(texts))


def channel_cosines(
    vectors: RowVectors,
    mentions: EncodedMentions,
    candidates: CandidateTable,
) -> np.ndarray:
    """Compare each mention with the best row of each candidate, channel by channel.

    vectors (RowVectors): Those that were searched.
    mentions (EncodedMentions): The mentions.
    candidates (CandidateTable): The p pairs.
    RETURNS (np.ndarray): (p, 2) float32, cosines of the surface and of the context.
    """
    context_width = mentions.table.context.shape[1]
    out = np.zeros((len(candidates.rows), 2), dtype=np.float32)
    if vectors.n_empty == context_width:
        # The surface is all that a row is made of.
        out[:, 0] = candidates.similarities
        return out
    for start in range(0, len(out), DECODED):
        part = slice(start, start + DECODED)
        decoded = vectors.decode(candidates.rows[part])
        mine = mentions.vectors[candidates.queries[part]]
        out[part, 0] = row_cosines(mine[:, context_width:], decoded[:, context_width:])
        out[part, 1] = row_cosines(mine[:, :context_width], decoded[:, :context_width])
    return out


def keep_first(candidates: CandidateTable, top_k: int) -> tuple[CandidateTable, np.ndarray]:
    """Judge candidates by similarity and prior alone.

    candidates (CandidateTable): As `retrieve` returns them.
    top_k (int): Candidates to keep of each mention.
    RETURNS (tuple[CandidateTable, np.ndarray]): The first ones, and their scores, (p,) float32.
    """
    kept = candidates.take(np.flatnonzero(candidates.places < top_k))
    return kept, kept.base


def name_candidates(
    records: Records, candidates: CandidateTable, scores: np.ndarray
) -> list[list[Candidate]]:
    """RETURNS (list[list[Candidate]]): Concept ids and scores of the candidates of each mention."""
    distinct, inverse = np.unique(candidates.entities, return_inverse=True)
    ids = records.entities["concept_id"].take(distinct).to_pylist()
    named = list(zip((ids[i] for i in inverse.tolist()), scores.tolist(), strict=True))
    return [named[start:end] for start, end in pairwise(candidates.offsets.tolist())]
