"""Fitting the ranker of a linker to annotated documents, each judged as if it were new."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from spacy import util
from spacy.language import Language
from spacy.training import Example
from tqdm import tqdm

from ..corpus.gold import GoldMention, gold_mentions
from ..encoding.feeding import feed, feeding_pipes
from ..errors import Errors, MetricELError
from ..kb.records import Records
from ..ranking.candidates import Candidates, OwnUsage
from ..ranking.counts import count_pairs
from ..ranking.features import MentionTexts
from ..ranking.labels import learn_labels
from ..ranking.prototypes import make_prototypes, own_mentions
from ..ranking.ranker import CandidateRanker, MentionTable, Own
from ..ranking.retrieval import (
    RANKED_CANDIDATES,
    channel_cosines,
    encode_mentions,
    find_candidates,
    take_mentions,
)

if TYPE_CHECKING:
    from ..pipeline.linker import MetricEntityLinker

DOCS_PER_BATCH = 32

FIT_MENTIONS = 100_000
"""Mentions that the scorers are fitted with; of a larger corpus, every so many documents."""


def fit_ranker(
    linker: "MetricEntityLinker",
    nlp: Language,
    get_examples: Callable[[], Iterable[Example]],
    *,
    progress: bool = False,
) -> CandidateRanker:
    """Learn from annotated documents what evidence is worth.

    Prototypes are made of all gold mentions whose concept the knowledge base has. The
    scorers then see each mention without what its own document contributed: names,
    counts, labels and prototypes.

    linker (MetricEntityLinker): With a knowledge base, whose counts are of these documents.
    nlp (Language): The pipeline that the linker stands in.
    get_examples (Callable[[], Iterable[Example]]): Returns the training corpus; called
        twice, and read as a stream.
    progress (bool): Whether to show progress bars.
    RETURNS (CandidateRanker): Fitted.
    RAISES (MetricELError): E012 if no mention has a concept of the knowledge base.
    """
    linker.refresh_vectors(progress=progress)
    records, nil = linker.kb.records, linker.cfg["nil"]
    sizes = [len(gold_mentions(example, nil=nil)) for example in get_examples()]
    stride = max(1, -(-sum(sizes) // FIT_MENTIONS))
    reader = _CorpusReader(linker, stride)
    feeds = feeding_pipes(nlp, linker.model)
    with tqdm(desc="Reading mentions", unit=" documents", disable=not progress) as bar:
        for batch in util.minibatch(get_examples(), DOCS_PER_BATCH):
            gold = [gold_mentions(example, nil=nil) for example in batch]
            docs = feed(feeds, [example.predicted for example in batch])
            reader.read(docs, gold)
            bar.update(len(batch))
    return reader.fit(records, progress=progress)


class _CorpusReader:
    """Gathers what the ranker is fitted with, batch by batch."""

    def __init__(self, linker: "MetricEntityLinker", stride: int) -> None:
        self.linker = linker
        self.stride = stride
        self.n_documents = 0
        self.tables: list[MentionTable] = []
        self.gold: list[list[int]] = []
        self.candidates: list[Candidates] = []
        self.channels: list[np.ndarray] = []
        self.judged: list[np.ndarray] = []
        self.links: list[tuple[int, int]] = []

    def read(self, docs: Sequence, gold: Sequence[Sequence[GoldMention]]) -> None:
        linker, first = self.linker, self.n_documents
        records = linker.kb.records
        self.n_documents += len(docs)
        spans = [(i, m.start, m.end) for i, mentions in enumerate(gold) for m in mentions]
        if not spans:
            return
        flat = [mention for mentions in gold for mention in mentions]
        labels = [mention.label for mention in flat]
        encoded = encode_mentions(linker, docs, spans, labels, first_document=first)
        known = [records.entity_indices(mention.concept_ids) for mention in flat]
        n_before = len(self.gold)
        links = [
            (first + span[0], link)
            for span, mention, entities in zip(spans, flat, known, strict=True)
            for link in _links(records, mention.text, entities)
        ]
        documents = encoded.table.documents
        self.tables.append(encoded.table)
        self.gold += known
        self.links += links
        judged = np.flatnonzero(documents % self.stride == 0)
        if not len(judged):
            return
        encoded = take_mentions(encoded, judged)
        found = find_candidates(
            linker.kb,
            encoded,
            search_rows=linker.cfg["search_rows"],
            limit=RANKED_CANDIDATES,
            prior_weight=linker.cfg["prior_weight"],
            own=_usage(encoded.table.documents, documents, known, links, records),
        )
        self.candidates.append(found)
        self.channels.append(channel_cosines(linker.kb, encoded, found, linker.context_width))
        self.judged.append(judged + n_before)

    def fit(self, records: Records, *, progress: bool) -> CandidateRanker:
        linker = self.linker
        if not any(self.gold):
            raise MetricELError(Errors.E012.format(name=linker.name))
        everything = _join_tables(self.tables)
        lengths = [len(entities) for entities in self.gold]
        owners = np.repeat(np.arange(len(self.gold)), lengths)
        entities = np.concatenate([np.asarray(e, dtype=np.int64) for e in self.gold])
        vectors = everything.context[owners]
        prototypes, clusters = make_prototypes(
            vectors,
            entities,
            radius=linker.cfg["prototype_radius"],
            max_per_entity=linker.cfg["prototypes_per_entity"],
        )
        labels = [everything.texts.labels[i] if linker.cfg["use_labels"] else "" for i in owners]
        known = learn_labels(entities, labels, records.n_entities)
        judged = np.concatenate(self.judged)
        table = everything.take(judged)
        candidates = _join_candidates(self.candidates)
        documents = everything.documents
        own = Own(
            _usage(table.documents, documents, self.gold, self.links, records),
            own_mentions(
                table.documents, documents[owners], clusters, vectors, len(prototypes.sizes)
            ),
        )
        is_right = _is_right(candidates, [self.gold[i] for i in judged], records.n_entities)
        ranker = CandidateRanker(records, prototypes, known)
        channels = np.concatenate(self.channels)
        ranker.fit(candidates, channels, table, is_right, own, progress=progress)
        return ranker


def _links(records: Records, text: str, entities: Sequence[int]) -> list[int]:
    name = records.name_index(text)
    if name < 0:
        return []
    start, end = records.name_offsets[name : name + 2]
    bearers = records.name_entities[start:end].tolist()
    return [int(start) + bearers.index(entity) for entity in entities if entity in bearers]


def _usage(
    judged: np.ndarray,
    documents: np.ndarray,
    gold: Sequence[Sequence[int]],
    links: Sequence[tuple[int, int]],
    records: Records,
) -> OwnUsage:
    lengths = [len(entities) for entities in gold]
    entities = [entity for mention in gold for entity in mention]
    pairs = np.asarray(links, dtype=np.int64).reshape(-1, 2)
    return OwnUsage(
        judged,
        count_pairs(pairs[:, 0], pairs[:, 1], len(records.name_entities)),
        count_pairs(
            np.repeat(documents, lengths), np.asarray(entities, dtype=np.int64), records.n_entities
        ),
    )


def _is_right(candidates: Candidates, gold: Sequence[Sequence[int]], n_entities: int) -> np.ndarray:
    lengths = [len(entities) for entities in gold]
    owners = np.repeat(np.arange(len(gold)), lengths)
    entities = np.asarray([e for mention in gold for e in mention], dtype=np.int64)
    pairs = count_pairs(owners, entities, n_entities)
    return pairs.of(candidates.mentions, candidates.entities) > 0


def _join_tables(tables: Sequence[MentionTable]) -> MentionTable:
    texts = MentionTexts(*([text for table in tables for text in table.texts[i]] for i in range(3)))
    return MentionTable(
        np.concatenate([table.documents for table in tables]),
        texts,
        np.concatenate([table.context for table in tables]),
    )


def _join_candidates(parts: Sequence[Candidates]) -> Candidates:
    starts = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    columns = (np.concatenate(values) for values in zip(*(part[1:] for part in parts), strict=True))
    return Candidates(np.concatenate([*offsets, starts[-1:]]), *columns)
