"""Knowledge bases made of others: concepts added, removed and merged, vectors kept."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..text import normalise_name
from .building.tables import SourcedEntity, source_bit
from .entity import Entity, clean_entity
from .index.buffers import row_buffer
from .index.postings import build_postings
from .index.row_vectors import DECODED, RowVectors, make_row_vectors
from .knowledge_base import FaissKnowledgeBase
from .records import MentionCounts, Records

ENTITIES_PER_BATCH = 10_000


def combine(
    kbs: Sequence[FaissKnowledgeBase],
    sources: Iterable[Iterable[Entity]] = (),
    counts: MentionCounts | None = None,
    *,
    without: Collection[str] = (),
    meta: dict[str, Any] | None = None,
    work_folder: Path | None = None,
    progress: bool = False,
) -> FaissKnowledgeBase:
    """Make a knowledge base of others and of further sources.

    Concepts are merged by their ids, the first one's name and definition win, and uses of
    names in training corpora are added up. Vectors of names that are written as before
    are kept, those of the encoder of the first knowledge base that has any; what is new
    is encoded when a pipeline loads the result.

    kbs (Sequence[FaissKnowledgeBase]): One or more; they stay as they are.
    sources (Iterable[Iterable[Entity]]): Concepts of further sources.
    counts (MentionCounts | None): Further uses of texts for concept ids.
    without (Collection[str]): Concept ids to leave out.
    meta (dict[str, Any] | None): Free text for the manifest.
    work_folder (Path | None): Where files grow; see `FaissKnowledgeBase.from_sources`.
    progress (bool): Whether to show progress bars.
    RETURNS (FaissKnowledgeBase): In no folder yet.
    RAISES (MetricELError): E102 for a record without id or name, E131 if nothing is left.
    """
    without = frozenset(without)
    before = list(accumulate(map(count_sources, kbs), initial=0))
    streams = [
        _with_sources(kb.records, without, number) for kb, number in zip(kbs, before, strict=False)
    ]
    added = [
        _all_of_one_source(source, number) for number, source in enumerate(sources, before[-1])
    ]
    corpus = chain.from_iterable(_of_mentions_alone(kb.records, without) for kb in kbs)
    uses = dict(counts or {})
    for kb in kbs:
        for pair, count in _uses(kb.records).items():
            uses[pair] = uses.get(pair, 0) + count
    uses = {pair: count for pair, count in uses.items() if pair[1] not in without}
    made = FaissKnowledgeBase.from_sources(
        [*streams, *added],
        uses,
        corpus=corpus,
        meta=meta,
        work_folder=work_folder,
        progress=progress,
    )
    factory = made.meta.get("index", "")
    return made.with_vectors(
        carry_vectors(kbs, made.records, factory=factory, work_folder=work_folder)
    )


def carry_vectors(
    kbs: Sequence[FaissKnowledgeBase],
    records: Records,
    *,
    factory: str = "",
    work_folder: Path | None = None,
) -> RowVectors | None:
    """Take the vectors of names that other knowledge bases have, too.

    kbs (Sequence[FaissKnowledgeBase]): With vectors, or without.
    records (Records): The new vocabulary.
    factory (str): FAISS factory string; chosen by the rows if empty.
    work_folder (Path | None): Where many vectors may wait; see `row_buffer`.
    RETURNS (RowVectors | None): Rows of the names that are written as they were; None if
        there are none.
    """
    encoded = [kb for kb in kbs if kb.vectors is not None]
    if not encoded:
        return None
    first = encoded[0].require_vectors()
    # For each name of the new records: the knowledge base that has its vector, and the row.
    kb_of = np.full(records.n_names, -1)
    row_of = np.zeros(records.n_names, dtype=np.int64)
    for number, kb in enumerate(encoded):
        if kb.require_vectors().fingerprint != first.fingerprint:
            continue
        rows, names = _same_names(kb, records)
        fresh = kb_of[names] < 0
        kb_of[names[fresh]] = number
        row_of[names[fresh]] = rows[fresh]
    names = np.flatnonzero(kb_of >= 0)
    if not len(names):
        return None
    buffer = row_buffer(len(names), first.width - first.n_empty, work_folder)
    for number, kb in enumerate(encoded):
        places = np.flatnonzero(kb_of[names] == number)
        for part in np.array_split(places, -(-len(places) // DECODED) or 1):
            rows = row_of[names[part]]
            buffer[part] = kb.require_vectors().decode(rows)[:, first.n_empty :]

    def texts_of(rows: np.ndarray) -> list[str]:
        return records.names["name"].take(names[rows]).to_pylist()

    return make_row_vectors(
        buffer,
        names,
        first.fingerprint,
        n_empty=first.n_empty,
        factory=factory,
        make_postings=lambda: build_postings(texts_of, len(names), work_folder),
    )


def _of_mentions_alone(records: Records, without: Collection[str]) -> Iterator[Entity]:
    """YIELDS (Entity): What a vocabulary has of training mentions alone."""
    is_own = records.entity_in_vocabulary.tolist()
    for entity, own in zip(records.iter_entities(), is_own, strict=True):
        if not own and entity.concept_id not in without:
            yield entity


def count_sources(kb: FaissKnowledgeBase) -> int:
    """RETURNS (int): The sources that a knowledge base was built of."""
    found = int(kb.records.name_sources.max(initial=0)).bit_length()
    return max(found, len(kb.meta.get("sources", ())))


def _with_sources(
    records: Records, without: Collection[str], number: int
) -> Iterator[SourcedEntity]:
    """YIELDS (SourcedEntity): What a vocabulary has of its own, with its sources numbered from here on."""
    bits = records.name_sources[np.argsort(records.name_entities, kind="stable")]
    offsets, names = records.entity_offsets, records.entity_names
    for start in range(0, records.n_entities, ENTITIES_PER_BATCH):
        end = min(start + ENTITIES_PER_BATCH, records.n_entities)
        first = int(offsets[start])
        keys = records.names["key"].take(names[first : offsets[end]]).to_pylist()
        entities = records.iter_entities(start, end)
        for i, entity in enumerate(entities, start):
            if not records.entity_in_vocabulary[i] or entity.concept_id in without:
                continue
            own = slice(int(offsets[i]) - first, int(offsets[i + 1]) - first)
            of_key = dict(zip(keys[own], bits[offsets[i] : offsets[i + 1]].tolist(), strict=True))
            given = {
                alias: _shifted(of_key.get(normalise_name(alias), 0), number)
                for alias in entity.aliases
            }
            yield SourcedEntity(entity, given)


def _all_of_one_source(source: Iterable[Entity], number: int) -> Iterator[SourcedEntity]:
    bit = source_bit(number)
    for entity in map(clean_entity, source):
        yield SourcedEntity(entity, dict.fromkeys(entity.aliases, bit))


def _shifted(bits: int, number: int) -> int:
    """RETURNS (int): The bits of sources that have so many before them."""
    return sum({source_bit(i + number) for i in range(bits.bit_length()) if bits >> i & 1})


def _uses(records: Records) -> dict[tuple[str, str], int]:
    """RETURNS (dict[tuple[str, str], int]): How often training mentions used a name for a concept."""
    links = np.flatnonzero(records.name_counts)
    names = np.searchsorted(records.name_offsets, links, side="right") - 1
    texts = records.names["name"].take(names).to_pylist()
    entities, counts = records.name_entities[links].tolist(), records.name_counts[links].tolist()
    spelling: dict[int, dict[str, str]] = {}
    for entity in set(entities) - set(np.flatnonzero(records.entity_in_vocabulary).tolist()):
        # Its names are written as its own record writes them.
        spelling[entity] = {normalise_name(a): a for a in records.entity(entity).aliases[::-1]}
    return {
        (spelling.get(e, {}).get(normalise_name(text), text), records.concept_id(e)): count
        for text, e, count in zip(texts, entities, counts, strict=True)
    }


def _same_names(kb: FaissKnowledgeBase, records: Records) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): (k,) rows of the old index, and (k,) names of the new records that are written like theirs."""
    old = kb.records
    old_hashes, hashes = (x.names["hash"].to_numpy() for x in (old, records))
    places = np.minimum(np.searchsorted(old_hashes, hashes), len(old_hashes) - 1)
    names = np.flatnonzero(old_hashes[places] == hashes)
    written = pc.equal(_texts(old, places[names]), _texts(records, names))
    names = names[written.to_numpy(zero_copy_only=False)]
    rows = kb.require_vectors().rows_of(places[names])
    return rows[rows >= 0], names[rows >= 0]


def _texts(records: Records, names: np.ndarray) -> pa.Array:
    return records.names["name"].take(pa.array(names)).combine_chunks()
