"""Mentions of documents, the rows that are nearest to them, and the candidates behind."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from spacy.tokens import Doc

from ..encoding.long_forms import long_forms
from ..model.encoder import encoder_input
from ..segments import places_of
from .candidates import Candidates, Hits, OwnUsage, collect_candidates
from .features import MentionTexts
from .ranker import MentionTable

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from ..pipeline.linker import MetricEntityLinker

DECODED = 8_192
"""Rows that are decoded together: what fits into a cache, nearly."""

RANKED_CANDIDATES = 32
"""Candidates of a mention that the ranker is given, however many are asked for. More are
found by similarity alone, and stand behind them with probability 0."""

Spans = Sequence[tuple[int, int, int]]


class EncodedMentions(NamedTuple):
    """Mentions and their queries: one by the long form, one as written where that differs.

    table (MentionTable): The n mentions.
    vectors (np.ndarray): (q, width) float32 unit vectors.
    owners (np.ndarray): (q,) int64, the mention of each query; the first n are in order.
    is_written (np.ndarray): (q,) bool, whether the query is of the text as written.
    is_long (np.ndarray): (q,) bool, whether it is of the long form; both, where a
        mention has none.
    texts (list[str]): (q,) what each query is of.
    """

    table: MentionTable
    vectors: np.ndarray
    owners: np.ndarray
    is_written: np.ndarray
    is_long: np.ndarray
    texts: list[str]


def encode_mentions(
    linker: "MetricEntityLinker",
    docs: Sequence[Doc],
    spans: Spans,
    labels: Sequence[str],
    *,
    first_document: int = 0,
) -> EncodedMentions:
    """Encode mentions for the search.

    linker (MetricEntityLinker): With an encoder.
    docs (Sequence[Doc]): Documents that have been through the upstream component.
    spans (Sequence[tuple[int, int, int]]): Index of the document, first token, last
        token + 1; those of a document together.
    labels (Sequence[str]): The entity label of each span.
    first_document (int): The number that the first document gets.
    RETURNS (EncodedMentions): Mentions and queries.
    """
    written = [docs[i][start:end].text for i, start, end in spans]
    long = long_forms(docs, spans)
    differing = [i for i, text in enumerate(written) if text != long[i]]
    queries = [*spans, *(spans[i] for i in differing)]
    texts = [*long, *(written[i] for i in differing)]
    vectors = linker.encode(encoder_input(docs, queries, texts))
    context = _unit(vectors[: len(spans), : linker.context_width])
    if not linker.model.get_ref("head").attrs["name_context"]:
        vectors[:, : linker.context_width] = 0.0
        vectors = _unit(vectors)
    owners = np.asarray([*range(len(spans)), *differing], dtype=np.int64)
    is_long = np.arange(len(queries)) < len(spans)
    is_written = np.ones(len(queries), dtype=bool)
    is_written[differing] = False
    numbers = np.asarray([span[0] for span in spans], dtype=np.int64) + first_document
    table = MentionTable(numbers, MentionTexts(written, long, list(labels)), context)
    return EncodedMentions(table, vectors, owners, is_written, is_long, texts)


def queries_of(mentions: EncodedMentions, places: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (k,) int64, the queries of some of the mentions."""
    return np.flatnonzero(np.isin(mentions.owners, places))


def take_mentions(mentions: EncodedMentions, places: np.ndarray) -> EncodedMentions:
    """RETURNS (EncodedMentions): Some of the mentions, at ascending places, with their queries."""
    queries = queries_of(mentions, places)
    return EncodedMentions(
        mentions.table.take(places),
        mentions.vectors[queries],
        np.searchsorted(places, mentions.owners[queries]),
        mentions.is_written[queries],
        mentions.is_long[queries],
        [mentions.texts[i] for i in queries],
    )


def link_spans(
    linker: "MetricEntityLinker",
    docs: Sequence[Doc],
    spans: Spans,
    labels: Sequence[str],
    top_k: int,
) -> list[list[tuple[str, float]]]:
    """Link mentions, by the ranker if one was fitted, else by similarity and priors.

    linker (MetricEntityLinker): With a knowledge base that has vectors.
    docs (Sequence[Doc]): Documents that have been through the upstream component.
    spans (Sequence[tuple[int, int, int]]): Index of the document, first token, last
        token + 1; those of a document together.
    labels (Sequence[str]): The entity label of each span.
    top_k (int): Candidates of each span.
    RETURNS (list[list[tuple[str, float]]]): For each span concept ids with scores, best first.
    """
    kb, cfg = linker.kb, linker.cfg
    ranker = linker.ranker_slot.ranker_for(kb)
    encoded = encode_mentions(linker, docs, spans, labels)
    if ranker is None:
        return kb.candidates(
            encoded.vectors[: len(spans)],
            top_k=top_k,
            prior_weight=cfg["prior_weight"],
            search_rows=cfg["search_rows"],
            texts=encoded.texts[: len(spans)],
        )
    settings = {"prior_weight": cfg["prior_weight"]}
    found = find_candidates(
        kb, encoded, search_rows=cfg["search_rows"], limit=RANKED_CANDIDATES, **settings
    )
    channels = channel_cosines(kb, encoded, found, linker.context_width)
    linked = named(kb, *ranker.rank(found, channels, encoded.table, top_k=top_k))
    if top_k > RANKED_CANDIDATES:
        rows = top_k * -(-kb.require_vectors().n_rows // len(kb))
        deeper = find_candidates(
            kb, encoded, search_rows=max(cfg["search_rows"], rows), limit=top_k, **settings
        )
        others = named(kb, deeper, np.zeros(len(deeper.entities), dtype=np.float32))
        linked = [add_behind(*lists, top_k) for lists in zip(linked, others, strict=True)]
    return linked


def named(
    kb: "FaissKnowledgeBase", candidates: Candidates, scores: np.ndarray
) -> list[list[tuple[str, float]]]:
    """RETURNS (list[list[tuple[str, float]]]): Concept ids and scores of the candidates of each mention."""
    distinct, inverse = np.unique(candidates.entities, return_inverse=True)
    ids = kb.records.entities["concept_id"].take(distinct).to_pylist()
    pairs = [(ids[i], score) for i, score in zip(inverse.tolist(), scores.tolist(), strict=True)]
    return [pairs[start:end] for start, end in pairwise(candidates.offsets.tolist())]


def add_behind(
    ranked: list[tuple[str, float]], others: list[tuple[str, float]], limit: int
) -> list[tuple[str, float]]:
    """RETURNS (list[tuple[str, float]]): The ranked candidates, and behind them those of the others that are not among them: asking for more changes nothing before."""
    known = {concept_id for concept_id, _ in ranked}
    return [*ranked, *(pair for pair in others if pair[0] not in known)][:limit]


def find_candidates(
    kb: "FaissKnowledgeBase",
    mentions: EncodedMentions,
    *,
    search_rows: int,
    limit: int,
    prior_weight: float,
    own: OwnUsage | None = None,
) -> Candidates:
    """Search a knowledge base for the candidates of mentions.

    Mentions of the same text have the same candidates where rows are of the surface
    channel alone: those are collected once.

    kb (FaissKnowledgeBase): With vectors.
    mentions (EncodedMentions): The mentions.
    search_rows (int): Nearest rows of each query.
    limit (int): Candidates of each mention.
    prior_weight (float): Weight of log p(entity | name) in the order.
    own (OwnUsage | None): For training mentions: what to leave out.
    RETURNS (Candidates): Of each mention.
    """
    settings: Any = {"limit": limit, "prior_weight": prior_weight}
    if own is not None or not kb.require_vectors().n_empty:
        n = len(mentions.table.documents)
        hits = find_rows(kb, mentions, search_rows)
        return collect_candidates(hits, kb.records, n, own=own, **settings)
    texts = list(zip(mentions.table.texts.long, mentions.table.texts.written, strict=True))
    first: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(texts):
        first.setdefault(pair, place)
    places = np.fromiter(first.values(), dtype=np.int64)
    queries = queries_of(mentions, places)
    hits = find_rows(kb, take_mentions(mentions, places), search_rows)
    found = collect_candidates(hits, kb.records, len(places), **settings)
    found = found._replace(queries=queries[found.queries])
    runs = np.searchsorted(places, np.fromiter(map(first.__getitem__, texts), dtype=np.int64))
    starts, lengths = found.offsets[runs], np.diff(found.offsets)[runs]
    return found.take(places_of(starts, lengths), np.concatenate(([0], np.cumsum(lengths))))


def find_rows(kb: "FaissKnowledgeBase", mentions: EncodedMentions, search_rows: int) -> Hits:
    """RETURNS (Hits): The nearest rows of each query."""
    vectors = kb.require_vectors()
    similarities, rows = kb.search_rows(mentions.vectors, search_rows, texts=mentions.texts)
    queries, columns = np.nonzero(rows >= 0)
    found = rows[queries, columns]
    return Hits(
        mentions.owners[queries],
        queries,
        found,
        vectors.kinds[found],
        vectors.refs[found].astype(np.int64),
        similarities[queries, columns],
        mentions.is_written[queries],
        mentions.is_long[queries],
    )


def channel_cosines(
    kb: "FaissKnowledgeBase",
    mentions: EncodedMentions,
    candidates: Candidates,
    context_width: int,
) -> np.ndarray:
    """Compare each mention with the best row of each candidate, channel by channel.

    kb (FaissKnowledgeBase): With vectors.
    mentions (EncodedMentions): The mentions.
    candidates (Candidates): The p pairs.
    context_width (int): Width of the context channel, which comes first in a vector.
    RETURNS (np.ndarray): (p, 2) float32, cosines of the surface and of the context.
    """
    vectors = kb.require_vectors()
    out = np.zeros((len(candidates.rows), 2), dtype=np.float32)
    if vectors.n_empty == context_width:
        # The surface is all that a row is made of.
        out[:, 0] = candidates.similarities
        return out
    for start in range(0, len(out), DECODED):
        part = slice(start, start + DECODED)
        decoded = vectors.decode(candidates.rows[part])
        mine = mentions.vectors[candidates.queries[part]]
        out[part, 0] = _cosines(mine[:, context_width:], decoded[:, context_width:])
        out[part, 1] = _cosines(mine[:, :context_width], decoded[:, :context_width])
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = np.einsum("ij,ij->i", a, b)
    lengths = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
    return product / np.sqrt(np.maximum(lengths, 1e-12))
