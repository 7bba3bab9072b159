"""Fitting a ranker to annotated documents, each judged as if it were new."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from spacy import util
from spacy.tokens import Doc
from spacy.training import Example
from tqdm import tqdm

from ..corpus.gold import GoldMention, gold_mentions
from ..encoding.feeding import Pipe, feed
from ..encoding.linker_encoder import LinkerEncoder
from ..encoding.mentions import encode_mentions
from ..errors import Errors, MetricELError
from ..kb import FaissKnowledgeBase
from ..kb.records import Records
from ..mentions import MentionTable, SpanRef, join_tables
from ..ranking.candidates import CandidateTable, OwnUsage, join_candidates
from ..ranking.counts import count_pairs
from ..ranking.labels import learn_labels
from ..ranking.prototypes import make_prototypes, own_mentions
from ..ranking.ranker import CandidateRanker, Own
from ..ranking.retrieval import channel_cosines, retrieve
from ..segments import offsets_of_lengths, owners_of_lengths
from ..settings import LinkerSettings

DOCS_PER_BATCH = 32

FIT_MENTIONS = 100_000
"""Mentions that the scorers are fitted with; of a larger corpus, every so many documents."""


class _Place(NamedTuple):
    """Where a batch stands in the corpus: the number of its first document, and of how many documents one is judged."""

    first: int
    stride: int


class _Batch(NamedTuple):
    """What a batch of documents gives to the fit.

    table (MentionTable): Its mentions.
    gold (list[list[int]]): The entities of each.
    links (list[tuple[int, int]]): Documents, and the links of names and entities that they use.
    judged (np.ndarray): (j,) int64, mentions that the scorers are fitted with.
    candidates (CandidateTable | None): Of the judged mentions; None if there are none.
    channels (np.ndarray): (p, 2) float32, cosines of the channels for these.
    """

    table: MentionTable
    gold: list[list[int]]
    links: list[tuple[int, int]]
    judged: np.ndarray
    candidates: CandidateTable | None
    channels: np.ndarray


def fit_ranker(
    kb: FaissKnowledgeBase,
    encoder: LinkerEncoder,
    feeds: Sequence[Pipe],
    get_examples: Callable[[], Iterable[Example]],
    settings: LinkerSettings,
    *,
    hidden: Sequence[str] = (),
    progress: bool = False,
) -> CandidateRanker:
    """Learn from annotated documents what evidence is worth.

    Prototypes are made of all gold mentions whose concept the knowledge base has. The
    scorers then see each mention without what its own document contributed: names,
    counts, labels and prototypes.

    kb (FaissKnowledgeBase): Its counts are of these documents.
    encoder (LinkerEncoder): As it is.
    feeds (Sequence[Pipe]): Components that documents go through before they are encoded.
    get_examples (Callable[[], Iterable[Example]]): Returns the training corpus; called
        twice, and read as a stream.
    settings (LinkerSettings): Those of the linker.
    hidden (Sequence[str]): Names of evidence that gets no weight, to measure its worth.
    progress (bool): Whether to show progress bars.
    RETURNS (CandidateRanker): Fitted.
    RAISES (MetricELError): E012 if no mention has a concept of the knowledge base.
    """
    encoder.vectors_of(kb, progress=progress)
    sizes = [len(gold_mentions(example, nil=settings.nil)) for example in get_examples()]
    stride = max(1, -(-sum(sizes) // FIT_MENTIONS))
    batches: list[_Batch] = []
    n_documents = 0
    with tqdm(desc="Reading mentions", unit=" documents", disable=not progress) as bar:
        for examples in util.minibatch(get_examples(), DOCS_PER_BATCH):
            gold = [gold_mentions(example, nil=settings.nil) for example in examples]
            docs = feed(feeds, [example.predicted for example in examples])
            place = _Place(n_documents, stride)
            if (batch := _read_batch(kb, encoder, docs, gold, settings, place)) is not None:
                batches.append(batch)
            n_documents += len(docs)
            bar.update(len(docs))
    if not any(known for batch in batches for known in batch.gold):
        raise MetricELError(Errors.E012.format(name=encoder.upstream.component_name))
    return _fit(kb.records, batches, settings, hidden=hidden, progress=progress)


def _read_batch(
    kb: FaissKnowledgeBase,
    encoder: LinkerEncoder,
    docs: Sequence[Doc],
    gold: Sequence[Sequence[GoldMention]],
    settings: LinkerSettings,
    place: _Place,
) -> _Batch | None:
    """RETURNS (_Batch | None): The mentions of a batch, with candidates for those of every so many documents; None without mentions."""
    records = kb.records
    spans = [SpanRef(i, m.start, m.end) for i, mentions in enumerate(gold) for m in mentions]
    if not spans:
        return None
    flat = [mention for mentions in gold for mention in mentions]
    labels = [mention.label for mention in flat]
    encoded = encode_mentions(encoder, docs, spans, labels, first_document=place.first)
    known = [records.entity_indices(mention.concept_ids) for mention in flat]
    links = [
        (place.first + span.doc, link)
        for span, mention, entities in zip(spans, flat, known, strict=True)
        for link in _links(records, mention.text, entities)
    ]
    documents = encoded.table.documents
    judged = np.flatnonzero(documents % place.stride == 0)
    if not len(judged):
        return _Batch(encoded.table, known, links, judged, None, np.zeros((0, 2), np.float32))
    vectors = encoder.vectors_of(kb)
    taken = encoded.take(judged)
    own = _usage(taken.table.documents, documents, known, links, records)
    found = retrieve(records, vectors, taken, settings, own=own)
    channels = channel_cosines(vectors, taken, found)
    return _Batch(encoded.table, known, links, judged, found, channels)


def _fit(
    records: Records,
    batches: Sequence[_Batch],
    settings: LinkerSettings,
    *,
    hidden: Sequence[str],
    progress: bool,
) -> CandidateRanker:
    everything = join_tables([batch.table for batch in batches])
    gold = [entities for batch in batches for entities in batch.gold]
    links = [link for batch in batches for link in batch.links]
    starts = offsets_of_lengths([len(batch.gold) for batch in batches])
    owners, entities = _flatten(gold)
    vectors = everything.context[owners]
    prototypes, clusters = make_prototypes(
        vectors,
        entities,
        radius=settings.prototype_radius,
        max_per_entity=settings.prototypes_per_entity,
    )
    labels = [everything.labels[i] if settings.use_labels else "" for i in owners]
    judging = [
        (batch.judged + start, batch.candidates, batch.channels)
        for batch, start in zip(batches, starts, strict=False)
        if batch.candidates is not None
    ]
    judged = np.concatenate([places for places, _, _ in judging])
    candidates = join_candidates([found for _, found, _ in judging])
    channels = np.concatenate([cosines for _, _, cosines in judging])
    table, documents = everything.take(judged), everything.documents
    own = Own(
        _usage(table.documents, documents, gold, links, records),
        own_mentions(table.documents, documents[owners], clusters, vectors, len(prototypes.sizes)),
    )
    is_right = _is_right(candidates, [gold[i] for i in judged], records.n_entities)
    ranker = CandidateRanker(
        records, prototypes, learn_labels(entities, labels, records.n_entities)
    )
    ranker.fit(candidates, channels, table, is_right, own, hidden=hidden, progress=progress)
    return ranker


def _links(records: Records, text: str, entities: Sequence[int]) -> list[int]:
    """RETURNS (list[int]): The links from a text, which is a name, to the entities."""
    name = records.name_index(text)
    if name < 0:
        return []
    links = records.links_of(name)
    bearers = records.name_entities[links].tolist()
    return [links.start + bearers.index(entity) for entity in entities if entity in bearers]


def _flatten(gold: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): (m,) int64, the mention of each gold entity, and (m,) int64, the entity."""
    owners = owners_of_lengths([len(entities) for entities in gold])
    return owners, np.asarray([e for entities in gold for e in entities], dtype=np.int64)


def _usage(
    judged: np.ndarray,
    documents: np.ndarray,
    gold: Sequence[Sequence[int]],
    links: Sequence[tuple[int, int]],
    records: Records,
) -> OwnUsage:
    """RETURNS (OwnUsage): What each document has contributed to counts of links and entities."""
    owners, entities = _flatten(gold)
    pairs = np.asarray(links, dtype=np.int64).reshape(-1, 2)
    return OwnUsage(
        judged,
        count_pairs(pairs[:, 0], pairs[:, 1], len(records.name_entities)),
        count_pairs(documents[owners], entities, records.n_entities),
    )


def _is_right(
    candidates: CandidateTable, gold: Sequence[Sequence[int]], n_entities: int
) -> np.ndarray:
    """RETURNS (np.ndarray): (p,) bool, whether each candidate is a gold entity of its mention."""
    pairs = count_pairs(*_flatten(gold), n_entities)
    return pairs.of(candidates.mentions, candidates.entities) > 0
