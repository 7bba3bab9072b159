"""Knowledge bases made of others: concepts added, removed and merged, vectors kept."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..text import normalise_name
from .building.tables import SourcedEntity, source_bit
from .entity import Entity, clean_entity
from .index.buffers import row_buffer
from .index.row_vectors import DECODED, RowVectors, find_rows, make_row_vectors
from .knowledge_base import FaissKnowledgeBase
from .ranking import ENTITY_ROW, NAME_ROW
from .records import MentionCounts, Records, row_texts

ENTITIES_PER_BATCH = 10_000


class _Rows(NamedTuple):
    """Rows of an old index that stand for something in new records.

    rows (np.ndarray): (k,) int64.
    kinds (np.ndarray): (k,) uint8.
    refs (np.ndarray): (k,) int64, names and entities of the new records.
    """

    rows: np.ndarray
    kinds: np.ndarray
    refs: np.ndarray


def combine(
    kbs: Sequence[FaissKnowledgeBase],
    sources: Iterable[Iterable[Entity]] = (),
    counts: MentionCounts | None = None,
    *,
    without: Collection[str] = (),
    **settings: Any,
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
    settings (Any): `meta`, `work_folder`, `memory` and `progress`, as
        `FaissKnowledgeBase.from_sources` takes them.
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
    made = FaissKnowledgeBase.from_sources([*streams, *added], uses, corpus=corpus, **settings)
    made.vectors = carry_vectors(
        kbs,
        made.records,
        factory=made.meta.get("index", ""),
        work_folder=settings.get("work_folder"),
    )
    return made


def carry_vectors(
    kbs: Sequence[FaissKnowledgeBase],
    records: Records,
    *,
    factory: str = "",
    work_folder: Path | None = None,
) -> RowVectors | None:
    """Take the vectors of what other knowledge bases have, too.

    kbs (Sequence[FaissKnowledgeBase]): With vectors, or without.
    records (Records): The new vocabulary.
    factory (str): FAISS factory string; chosen by the rows if empty.
    work_folder (Path | None): Where many vectors may wait; see `row_buffer`.
    RETURNS (RowVectors | None): Rows of the names and entities that are written as they
        were; None if there are none.
    """
    encoded = [kb for kb in kbs if kb.vectors is not None]
    if not encoded:
        return None
    first = encoded[0].require_vectors()
    parts: list[tuple[RowVectors, _Rows]] = []
    is_known = {NAME_ROW: np.zeros(records.n_names, dtype=bool)}
    is_known[ENTITY_ROW] = np.zeros(records.n_entities, dtype=bool)
    for kb in encoded:
        vectors = kb.require_vectors()
        if vectors.fingerprint != first.fingerprint:
            continue
        for found in (_same_names(kb, records), _same_entities(kb, records)):
            if not len(found.rows):
                continue
            known = is_known[int(found.kinds[0])]
            fresh = ~known[found.refs]
            known[found.refs] = True
            parts.append((vectors, _Rows(*(values[fresh] for values in found))))
    n_rows = sum(len(found.rows) for _, found in parts)
    if not n_rows:
        return None
    buffer = row_buffer(n_rows, first.width - first.n_empty, work_folder)
    start = 0
    for vectors, found in parts:
        for rows in np.array_split(found.rows, -(-len(found.rows) // DECODED) or 1):
            buffer[start : start + len(rows)] = vectors.decode(rows)[:, first.n_empty :]
            start += len(rows)
    kinds = np.concatenate([found.kinds for _, found in parts])
    refs = np.concatenate([found.refs for _, found in parts])
    return make_row_vectors(
        buffer,
        kinds,
        refs,
        first.fingerprint,
        n_empty=first.n_empty,
        factory=factory,
        texts_of=lambda rows: row_texts(records, kinds[rows], refs[rows]),
        work_folder=work_folder,
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


def _same_names(kb: FaissKnowledgeBase, records: Records) -> _Rows:
    vectors, old = kb.require_vectors(), kb.records
    old_hashes, hashes = (x.names["hash"].to_numpy() for x in (old, records))
    places = np.minimum(np.searchsorted(old_hashes, hashes), len(old_hashes) - 1)
    refs = np.flatnonzero(old_hashes[places] == hashes)
    written = pc.equal(_texts(old, places[refs]), _texts(records, refs))
    refs = refs[written.to_numpy(zero_copy_only=False)]
    kinds = np.full(len(refs), NAME_ROW)
    rows = find_rows(vectors, kinds, places[refs])
    return _Rows(*(values[rows >= 0] for values in (rows, kinds, refs)))


def _same_entities(kb: FaissKnowledgeBase, records: Records) -> _Rows:
    vectors, old = kb.require_vectors(), kb.records
    rows, refs = [], []
    for row in np.flatnonzero(vectors.kinds == ENTITY_ROW).tolist():
        entity = old.entity(int(vectors.refs[row]))
        ref = records.entity_index(entity.concept_id)
        if ref >= 0 and records.entity(ref) == entity:
            rows.append(row)
            refs.append(ref)
    kinds = np.full(len(rows), ENTITY_ROW)
    return _Rows(np.asarray(rows, dtype=np.int64), kinds, np.asarray(refs, dtype=np.int64))


def _texts(records: Records, names: np.ndarray) -> pa.Array:
    return records.names["name"].take(pa.array(names)).combine_chunks()
