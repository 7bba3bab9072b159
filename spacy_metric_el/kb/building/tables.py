"""Building the tables of a vocabulary from streams of concepts, in bounded memory.

Concepts are sorted by id and merged; their names are sorted by hash and grouped.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import reduce
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from ...errors import Errors, MetricELError
from ...segments import over_runs
from ...text import normalise_name, stable_hash
from ..entity import Entity, clean_entity, merge_two
from ..records import ENTITY_SCHEMA, NAME_SCHEMA, MentionCounts, Records
from .columns import GrowingTable
from .sorting import RowSorter

SORT_MEMORY = 2**27
"""Bytes of concepts that are held, and again of names; sorting takes twice as many."""

CONCEPTS_PER_BATCH = 10_000
LINKS_PER_BATCH = 200_000

_CONCEPTS = pa.schema(
    [
        ("concept_id", pa.string()),
        ("place", pa.int64()),
        ("is_own", pa.bool_()),
        ("canonical_name", pa.string()),
        ("aliases", pa.list_(pa.string())),
        ("types", pa.list_(pa.string())),
        ("definition", pa.string()),
        # For each of the aliases the sources that gave it.
        ("sources", pa.list_(pa.uint64())),
    ]
)
_LINKS = pa.schema(
    [
        ("hash", pa.uint64()),
        ("key", pa.string()),
        ("entity", pa.int32()),
        ("place", pa.int64()),
        ("name", pa.string()),
        ("count", pa.uint32()),
        ("in_vocabulary", pa.bool_()),
        ("preferred", pa.bool_()),
        ("sources", pa.uint64()),
    ]
)
_WRITTEN = pa.schema([ENTITY_SCHEMA.field(name) for name in Entity._fields])


class SourcedEntity(NamedTuple):
    """A concept whose names are of several sources, as that of another knowledge base.

    entity (Entity): The concept.
    sources (Mapping[str, int]): By name, as written: a bit for each source; see `source_bit`.
    """

    entity: Entity
    sources: Mapping[str, int]


def source_bit(number: int) -> int:
    """RETURNS (int): The bit that stands for a source, by its place among all; those from the 64th on share one."""
    return 1 << min(number, 63)


def build_tables(
    sources: Iterable[Iterable[Entity | SourcedEntity]],
    counts: MentionCounts | None = None,
    *,
    folder: Path,
    corpus: Iterable[Entity] = (),
    memory: int = SORT_MEMORY,
    merge: bool = True,
    progress: bool = False,
) -> Records:
    """Build the tables of a vocabulary.

    Concepts of several sources are merged by id: names and types are united in the order
    of the sources, the canonical name and the definition are the first ones.

    sources (Iterable[Iterable[Entity | SourcedEntity]]): The concepts of each source, as
        streams. The first one's names get the bit 0 of `Records.name_sources`, and so on.
    counts (MentionCounts | None): How often a text was linked to a concept id in a
        training corpus. Texts become names of their concepts; concepts that no source
        has are added, with their most frequent text as canonical name.
    corpus (Iterable[Entity]): Concepts that are known of training mentions alone; they
        need their counts as well.
    folder (Path): For files that grow. The tables are mapped from there.
    memory (int): Bytes of concepts that are held, and again of names; the rest goes to disk.
    merge (bool): If not, a concept that comes twice is an error.
    progress (bool): Whether to show progress bars.
    RETURNS (Records): The tables.
    RAISES (MetricELError): E102 for a record without id or name, E130 for a concept id
        that comes twice where that is an error, E131 if there is no concept at all,
        E140 if the disk does not suffice for sorting.
    """
    uses = _tidy_uses(counts or {})
    by_id, by_name = ("concept_id", "place"), ("hash", "key", "entity", "place")
    concepts = RowSorter(_CONCEPTS, by_id, folder / "concepts", memory=memory)
    links = RowSorter(_LINKS, by_name, folder / "links", memory=memory)
    names, entities = GrowingTable(NAME_SCHEMA, folder), GrowingTable(_WRITTEN, folder)
    with closing(concepts), closing(links), closing(entities), closing(names):
        for rows in _batches(_concept_rows(sources, corpus, uses), CONCEPTS_PER_BATCH):
            concepts.add(rows)
        if not concepts.n_rows:
            raise MetricELError(Errors.E131)
        stream = _merged(concepts, merge=merge)
        shown = tqdm(stream, "Sorting concepts", unit=" concepts", disable=not progress)
        hashes = _write_entities(shown, entities, links, uses)
        title, total = "Sorting names", links.n_rows
        with tqdm(total=total, desc=title, unit=" names", disable=not progress) as bar:
            for table in _whole_names(links):
                names.append(_group_names(table))
                bar.update(table.num_rows)
    order = np.argsort(hashes, kind="stable")
    lookup = [pa.array(hashes[order]), pa.array(order.astype(np.int32))]
    columns = [*entities.finish().columns, *lookup]
    return Records(pa.Table.from_arrays(columns, schema=ENTITY_SCHEMA), names.finish())


def _tidy_uses(counts: MentionCounts) -> dict[tuple[str, str], int]:
    """RETURNS (dict[tuple[str, str], int]): Uses by text and concept id, sorted, without empty texts."""
    uses: dict[tuple[str, str], int] = {}
    for (text, concept_id), count in sorted(counts.items()):
        if normalise_name(text):
            pair = " ".join(text.split()), concept_id.strip()
            uses[pair] = uses.get(pair, 0) + count
    return uses


def _concept_rows(
    sources: Iterable[Iterable[Entity | SourcedEntity]],
    corpus: Iterable[Entity],
    uses: Mapping[tuple[str, str], int],
) -> Iterator[tuple]:
    place = 0
    for number, source in enumerate(sources):
        bit = source_bit(number)
        for item in source:
            if isinstance(item, SourcedEntity):
                entity = clean_entity(item.entity)
                bits = [item.sources.get(alias, 0) for alias in entity.aliases]
            else:
                entity = clean_entity(item)
                bits = [bit] * len(entity.aliases)
            yield (entity.concept_id, place, True, *entity[1:], bits)
            place += 1
    for entity in chain(map(clean_entity, corpus), _used_concepts(uses)):
        yield (entity.concept_id, place, False, *entity[1:], [0] * len(entity.aliases))
        place += 1


def _used_concepts(uses: Mapping[tuple[str, str], int]) -> Iterator[Entity]:
    """YIELDS (Entity): The concepts of a corpus, with their names, the most frequent first."""
    used: dict[str, list[tuple[int, str]]] = {}
    for (text, concept_id), count in uses.items():
        used.setdefault(concept_id, []).append((-count, text))
    for concept_id, texts in used.items():
        names = [text for _, text in sorted(texts)]
        yield clean_entity(Entity(concept_id, names[0], names))


def _write_entities(
    merged: Iterable[tuple[SourcedEntity, bool]],
    table: GrowingTable,
    links: RowSorter,
    uses: Mapping[tuple[str, str], int],
) -> np.ndarray:
    """RETURNS (np.ndarray): (n,) uint64, the hashes of the concept ids; the names of the concepts are in `links`."""
    records = dict.fromkeys((concept_id for _, concept_id in uses), -1)
    hashes, place = array("Q"), 0
    for batch in _batches(merged, CONCEPTS_PER_BATCH):
        rows: list[tuple] = []
        for record, ((entity, given), is_known) in enumerate(batch, table.n_rows):
            hashes.append(stable_hash(entity.concept_id))
            if entity.concept_id in records:
                records[entity.concept_id] = record
            # Names of a corpus come below, with their counts.
            rows += _link_rows(entity, given, record, place + len(rows)) if is_known else []
        if rows:
            links.add(rows)
        place += len(rows)
        columns = zip(*(item.entity for item, _ in batch), strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, _WRITTEN, strict=True)]
        table.append(pa.Table.from_arrays(arrays, schema=_WRITTEN))
    counted = (
        (stable_hash(key), key, records[concept_id], place + i, text, count, False, False, 0)
        for i, ((text, concept_id), count) in enumerate(uses.items())
        for key in [normalise_name(text)]
    )
    for rows in _batches(counted, LINKS_PER_BATCH):
        links.add(rows)
    return np.asarray(hashes, dtype=np.uint64)


def _merged(concepts: RowSorter, *, merge: bool) -> Iterator[tuple[SourcedEntity, bool]]:
    """YIELDS (tuple[SourcedEntity, bool]): Each concept, and whether a source has it."""
    batches = concepts.read(CONCEPTS_PER_BATCH)
    rows = (row for batch in batches for row in zip(*(c.to_pylist() for c in batch), strict=True))
    for concept_id, group in groupby(rows, key=lambda row: row[0]):
        found = [(row[2], Entity(concept_id, *row[3:-1]), row[-1]) for row in group]
        known = [(entity, bits) for is_own, entity, bits in found if is_own]
        if len(known) > 1 and not merge:
            raise MetricELError(Errors.E130.format(concept_id=concept_id))
        taken = known or [(entity, bits) for _, entity, bits in found]
        given: dict[str, int] = {}
        for entity, bits in taken:
            for alias, bit in zip(entity.aliases, bits, strict=True):
                given[alias] = given.get(alias, 0) | bit
        entities = [entity for entity, _ in taken]
        merged = clean_entity(reduce(merge_two, entities)) if len(entities) > 1 else entities[0]
        yield SourcedEntity(merged, given), bool(known)


def _link_rows(entity: Entity, given: Mapping[str, int], record: int, place: int) -> list[tuple]:
    keys: dict[str, str] = {}
    sources: dict[str, int] = {}
    for alias in entity.aliases:
        key = normalise_name(alias)
        keys.setdefault(key, alias)
        sources[key] = sources.get(key, 0) | given[alias]
    canonical = normalise_name(entity.canonical_name)
    return [
        (stable_hash(key), key, record, place + i, alias, 0, True, key == canonical, sources[key])
        for i, (key, alias) in enumerate(keys.items())
    ]


def _whole_names(links: RowSorter) -> Iterator[pa.Table]:
    """YIELDS (pa.Table): Sorted links, cut between names."""
    rest = _LINKS.empty_table()
    for batch in links.read(LINKS_PER_BATCH):
        table = pa.concat_tables([rest, pa.Table.from_batches([batch], _LINKS)]).combine_chunks()
        cut = int(_starts(table, "hash", "key")[-1])
        if cut:
            yield table.slice(0, cut)
        rest = table.slice(cut)
    if rest.num_rows:
        yield rest


def _group_names(links: pa.Table) -> pa.Table:
    """RETURNS (pa.Table): A row for each name, as `NAME_SCHEMA`."""
    names, pairs = _starts(links, "hash", "key"), _starts(links, "hash", "key", "entity")
    place = links["place"].to_numpy()
    first = np.minimum.reduceat(place, names)
    # A name is written as the first concept writes it.
    writes = np.flatnonzero(place == over_runs(first, np.append(names, len(place))))
    offsets = pa.array(np.append(np.searchsorted(pairs, names), len(pairs)))
    values: list[Any] = [
        links["entity"].to_numpy()[pairs],
        np.add.reduceat(links["count"].to_numpy(), pairs, dtype=np.uint32),
        np.logical_or.reduceat(links["in_vocabulary"].to_numpy(), pairs),
        np.logical_or.reduceat(links["preferred"].to_numpy(), pairs),
        np.bitwise_or.reduceat(links["sources"].to_numpy(), pairs),
    ]
    lists = [pa.LargeListArray.from_arrays(offsets, pa.array(column)) for column in values]
    columns = [links["key"].take(names), links["name"].take(writes), links["hash"].take(names)]
    arrays = [*(column.combine_chunks() for column in columns), *lists]
    fields = zip(arrays, NAME_SCHEMA, strict=True)
    return pa.Table.from_arrays([a.cast(f.type) for a, f in fields], schema=NAME_SCHEMA)


def _starts(table: pa.Table, *columns: str) -> np.ndarray:
    """RETURNS (np.ndarray): The rows that differ in these columns from the row before, and the first."""
    differs = np.zeros(table.num_rows, dtype=bool)
    differs[:1] = True
    for name in columns:
        column = table[name].combine_chunks()
        differs[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(differs)


def _batches(rows: Iterable[Any], size: int) -> Iterator[list]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch
