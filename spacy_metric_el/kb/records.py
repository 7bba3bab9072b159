"""Entities and names as Arrow tables: sorted, looked up by 64-bit hashes, mapped from disk.

`entities.arrow` holds one record a concept, in the order of concept ids.
`names.arrow` holds one record a distinct normalised name, in the order of its
hash, with the concepts that bear it, how often a training corpus used it so,
whether the vocabulary itself gives the concept that name, and which sources of it do.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..segments import offsets_of_lengths, over_runs, spread
from ..text import normalise_name, stable_hash
from .entity import Entity

ENTITIES_FILE = "entities.arrow"
NAMES_FILE = "names.arrow"

VOCABULARY_MASS = 0.5
"""What a link of the vocabulary weighs beside one mention of a training corpus."""

PREFERENCE = 1.0
"""How much more a canonical name speaks for its entity than an alias does."""

ENTITY_SCHEMA = pa.schema(
    [
        ("concept_id", pa.large_string()),
        ("canonical_name", pa.large_string()),
        ("aliases", pa.large_list(pa.large_string())),
        ("types", pa.large_list(pa.large_string())),
        ("definition", pa.large_string()),
        # Row i: the i-th smallest hash of a concept id, and the record it belongs to.
        ("id_hash", pa.uint64()),
        ("id_record", pa.int32()),
    ]
)
NAME_SCHEMA = pa.schema(
    [
        ("key", pa.large_string()),
        ("name", pa.large_string()),
        ("hash", pa.uint64()),
        ("entities", pa.large_list(pa.int32())),
        ("counts", pa.large_list(pa.uint32())),
        ("in_vocabulary", pa.large_list(pa.bool_())),
        ("preferred", pa.large_list(pa.bool_())),
        ("sources", pa.large_list(pa.uint64())),
    ]
)

MentionCounts = Mapping[tuple[str, str], int]


class Records:
    """The vocabulary: entities, their names, and how often each name meant which.

    entities (pa.Table): As `ENTITY_SCHEMA`, one chunk a column.
    names (pa.Table): As `NAME_SCHEMA`, one chunk a column.
    """

    def __init__(self, entities: pa.Table, names: pa.Table) -> None:
        self.entities = entities
        self.names = names

    @property
    def n_entities(self) -> int:
        """RETURNS (int): Number of entities."""
        return self.entities.num_rows

    @property
    def n_names(self) -> int:
        """RETURNS (int): Number of distinct normalised names."""
        return self.names.num_rows

    @property
    def n_definitions(self) -> int:
        """RETURNS (int): Number of entities with a definition."""
        return self.n_entities - self.entities["definition"].null_count

    @cached_property
    def name_offsets(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_names + 1,) int64; name i's links are offsets[i]:offsets[i + 1]."""
        return _offsets(self.names, "entities")

    @cached_property
    def name_entities(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_links,) int32, the entity of each link."""
        return _values(self.names, "entities")

    @cached_property
    def name_counts(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_links,) uint32, uses of each link in a training corpus."""
        return _values(self.names, "counts")

    @cached_property
    def name_in_vocabulary(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_links,) bool, whether a source of the vocabulary has the link; the others come of training mentions alone."""
        return _values(self.names, "in_vocabulary")

    @cached_property
    def name_is_preferred(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_links,) bool, whether the name is the canonical one of the entity, by a source of the vocabulary."""
        return _values(self.names, "preferred")

    @cached_property
    def name_sources(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_links,) uint64, a bit for each source that has the link; 0 for those of training mentions alone."""
        return _values(self.names, "sources")

    @cached_property
    def entity_counts(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_entities,) int64, mentions of each entity in a training corpus."""
        counts = np.bincount(
            self.name_entities, weights=self.name_counts, minlength=self.n_entities
        )
        return counts.astype(np.int64)

    @cached_property
    def entity_in_vocabulary(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_entities,) bool, whether the vocabulary has the entity."""
        found = np.zeros(self.n_entities, dtype=bool)
        found[self.name_entities[self.name_in_vocabulary]] = True
        return found

    @cached_property
    def entity_offsets(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_entities + 1,) int64 into `entity_names`."""
        counts = np.bincount(self.name_entities, minlength=self.n_entities)
        return offsets_of_lengths(counts)

    @cached_property
    def entity_names(self) -> np.ndarray:
        """RETURNS (np.ndarray): (n_links,) int32, the names of each entity in turn."""
        owners = over_runs(np.arange(self.n_names, dtype=np.int32), self.name_offsets)
        return owners[np.argsort(self.name_entities, kind="stable")]

    def links_of(self, name: int) -> slice:
        """RETURNS (slice): The links of a name's record."""
        return slice(*self.name_offsets[name : name + 2].tolist())

    def names_of(self, entity: int) -> np.ndarray:
        """RETURNS (np.ndarray): (k,) int32, the records of the names of an entity's record."""
        return self.entity_names[slice(*self.entity_offsets[entity : entity + 2].tolist())]

    def links_of_names(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[np.ndarray, np.ndarray]): For each link of names, (n,) int, its place among them and the link itself, (m,) int64 each."""
        starts = self.name_offsets[names]
        return spread(starts, self.name_offsets[names + 1] - starts)

    def bearers_of(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[np.ndarray, np.ndarray]): For each link of names, (n,) int, its place among them, (m,) int64, and the entity, (m,) int32."""
        owners, links = self.links_of_names(names)
        return owners, self.name_entities[links]

    def entity_index(self, concept_id: str) -> int:
        """RETURNS (int): The record of a concept id, -1 if there is none."""
        hashes, records = _values(self.entities, "id_hash"), _values(self.entities, "id_record")
        for position in _matches(hashes, concept_id):
            record = int(records[position])
            if self.concept_id(record) == concept_id:
                return record
        return -1

    def entity_indices(self, concept_ids: Iterable[str]) -> list[int]:
        """RETURNS (list[int]): The records of those concept ids that the vocabulary has."""
        return [i for concept_id in concept_ids if (i := self.entity_index(concept_id)) >= 0]

    def name_index(self, name: str) -> int:
        """RETURNS (int): The record of a name, compared in its normal form; -1 if there is none."""
        key = normalise_name(name)
        for position in _matches(_values(self.names, "hash"), key):
            if self.names["key"][int(position)].as_py() == key:
                return int(position)
        return -1

    def concept_id(self, entity: int) -> str:
        """RETURNS (str): The concept id of an entity's record."""
        return self.entities["concept_id"][int(entity)].as_py()

    def entity(self, entity: int) -> Entity:
        """RETURNS (Entity): An entity's record."""
        row = {name: self.entities[name][int(entity)].as_py() for name in Entity._fields}
        return Entity(**row)

    def iter_entities(self, start: int = 0, end: int | None = None) -> Iterator[Entity]:
        """YIELDS (Entity): The entities of records start to end, in the order of concept ids."""
        end = self.n_entities if end is None else end
        columns = self.entities.select(list(Entity._fields)).slice(start, end - start)
        for batch in columns.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                yield Entity(**row)

    def name_texts(self, start: int = 0, end: int | None = None) -> list[str]:
        """RETURNS (list[str]): The names as written, of records start to end."""
        end = self.n_names if end is None else end
        return self.names["name"].slice(start, end - start).to_pylist()


def link_mass(
    counts: np.ndarray, in_vocabulary: np.ndarray, is_preferred: np.ndarray
) -> np.ndarray:
    """Weigh what speaks for links of names and entities; a link's share of its name's is p(entity | name).

    counts (np.ndarray): (n,) uses in a training corpus.
    in_vocabulary (np.ndarray): (n,) bool, whether the vocabulary itself has the link.
    is_preferred (np.ndarray): (n,) bool, whether the name is the canonical one.
    RETURNS (np.ndarray): (n,) float; 0 for a link that nothing speaks for.
    """
    return counts + VOCABULARY_MASS * in_vocabulary * (1.0 + PREFERENCE * is_preferred)


def write_records(records: Records, folder: Path) -> None:
    """Write both tables into a folder."""
    for table, name in ((records.entities, ENTITIES_FILE), (records.names, NAMES_FILE)):
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)


def open_records(buffers: Mapping[str, pa.Buffer]) -> Records:
    """Open tables without copying them.

    buffers (Mapping[str, pa.Buffer]): The files by name, mapped or in memory.
    RETURNS (Records): Tables over those buffers.
    RAISES (pa.ArrowInvalid): For files that are no tables, or have other columns.
    """
    tables = [
        pa.ipc.open_file(pa.BufferReader(buffers[name])).read_all()
        for name in (ENTITIES_FILE, NAMES_FILE)
    ]
    for table, schema in zip(tables, (ENTITY_SCHEMA, NAME_SCHEMA), strict=True):
        if table.schema != schema:
            raise pa.ArrowInvalid("the columns are those of another version")
    return Records(*tables)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _values(table: pa.Table, name: str) -> np.ndarray:
    column = _column(table, name)
    values = column.values if pa.types.is_large_list(column.type) else column
    return values.to_numpy(zero_copy_only=False)


def _offsets(table: pa.Table, name: str) -> np.ndarray:
    return _column(table, name).offsets.to_numpy(zero_copy_only=False)


def _matches(hashes: np.ndarray, text: str) -> range:
    value = np.uint64(stable_hash(text))
    return range(
        int(np.searchsorted(hashes, value, side="left")),
        int(np.searchsorted(hashes, value, side="right")),
    )
