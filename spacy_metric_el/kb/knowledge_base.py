"""The knowledge base: a vocabulary and, once an encoder has been over it, its vectors."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import srsly

from ..errors import Errors, MetricELError
from ..files import BUILD_PREFIX, replaced_folder, scratch_folder
from .entity import Entity
from .index.row_vectors import RowVectors, read_vectors, write_vectors
from .ranking import RowTargets, rank_entities
from .records import (
    ENTITIES_FILE,
    NAMES_FILE,
    MentionCounts,
    Records,
    open_records,
    write_records,
)
from .storage import MANIFEST, read_manifest, verify_checksums, write_manifest

VECTORS_FOLDER = "vectors"

Candidate = tuple[str, float]


class FaissKnowledgeBase:
    """Entities, their names, priors p(entity | name), and a FAISS index over rows.

    A row is a name, or an entity as a whole; an entity's score is its best row's.

    records (Records): The vocabulary.
    vectors (RowVectors | None): Rows of one encoder; None until one has been over it.
    meta (dict[str, Any] | None): Free text for the manifest, such as the sources.
    """

    def __init__(
        self,
        records: Records,
        vectors: RowVectors | None = None,
        *,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self.records = records
        self.vectors = vectors
        self.meta = dict(meta or {})
        self.path: Path | None = None
        self._stored_vectors: RowVectors | None = None

    @classmethod
    def from_entities(
        cls,
        entities: Iterable[Entity],
        counts: MentionCounts | None = None,
        *,
        meta: dict[str, Any] | None = None,
    ) -> "FaissKnowledgeBase":
        """Build the records of a knowledge base.

        entities (Iterable[Entity]): With concept ids that differ.
        counts (MentionCounts | None): How often a text was linked to a concept id.
        meta (dict[str, Any] | None): Free text for the manifest.
        RETURNS (FaissKnowledgeBase): Without vectors.
        RAISES (MetricELError): E130, E131.
        """
        return cls.from_sources([entities], counts, merge=False, meta=meta)

    @classmethod
    def from_sources(
        cls,
        sources: Iterable[Iterable[Entity]],
        counts: MentionCounts | None = None,
        *,
        meta: dict[str, Any] | None = None,
        work_folder: str | Path | None = None,
        **settings: Any,
    ) -> "FaissKnowledgeBase":
        """Build the records of a knowledge base from streams, in bounded memory.

        sources (Iterable[Iterable[Entity]]): The concepts of each source; those of
            several are merged by their ids.
        counts (MentionCounts | None): How often a text was linked to a concept id.
        meta (dict[str, Any] | None): Free text for the manifest.
        work_folder (str | Path | None): Where files grow while it is built, which need some
            times the room of the tables; the system's folder for such files if None.
        settings (Any): `corpus`, `memory`, `merge` and `progress`; see `build_tables`.
        RETURNS (FaissKnowledgeBase): Without vectors.
        RAISES (MetricELError): E102, E130, E131, E140.
        """
        from .building.tables import build_tables

        with scratch_folder(work_folder, BUILD_PREFIX) as folder:
            # The maps stay valid after their files' names are gone.
            records = build_tables(sources, counts, folder=folder, **settings)
        return cls(records, meta=meta)

    def __len__(self) -> int:
        return self.records.n_entities

    def __contains__(self, concept_id: object) -> bool:
        return isinstance(concept_id, str) and self.records.entity_index(concept_id) >= 0

    def __iter__(self) -> Iterator[str]:
        return (value.as_py() for value in self.records.entities["concept_id"])

    def __getitem__(self, concept_id: str) -> Entity:
        """RETURNS (Entity): scispaCy's record of a concept. RAISES (KeyError): If there is none."""
        entity = self.get(concept_id)
        if entity is None:
            raise KeyError(concept_id)
        return entity

    def get(self, concept_id: str, default: Entity | None = None) -> Entity | None:
        """RETURNS (Entity | None): The record of a concept, or the default."""
        entity = self.records.entity_index(concept_id)
        return self.records.entity(entity) if entity >= 0 else default

    def name_sources(self, concept_id: str) -> dict[str, list[int]]:
        """Say where the names of a concept come from.

        concept_id (str): A concept id.
        RETURNS (dict[str, list[int]]): By name, the places among `meta["sources"]` of the
            vocabularies that gave it; none for names of training mentions alone. From the
            64th on sources are not told apart.
        RAISES (KeyError): If there is no such concept.
        """
        records = self.records
        entity = records.entity_index(concept_id)
        if entity < 0:
            raise KeyError(concept_id)
        found = {}
        for name in records.entity_names[slice(*records.entity_offsets[entity : entity + 2])]:
            start, end = records.name_offsets[name : name + 2]
            link = start + int(np.flatnonzero(records.name_entities[start:end] == entity)[0])
            bits = int(records.name_sources[link])
            places = [i for i in range(bits.bit_length()) if bits >> i & 1]
            found[records.names["name"][int(name)].as_py()] = places
        return found

    def entities(self) -> Iterator[Entity]:
        """YIELDS (Entity): Every record, in the order of concept ids."""
        return self.records.iter_entities()

    def lookup(self, name: str) -> list[Candidate]:
        """Look up an exact alias, compared in its normal form.

        name (str): A name.
        RETURNS (list[Candidate]): Concept ids with p(entity | name), best first,
            ties by concept id; empty if no entity bears the name.
        """
        record = self.records.name_index(name)
        if record < 0:
            return []
        start, end = self.records.name_offsets[record : record + 2]
        priors = np.exp(self._targets_of_names.name_log_priors[start:end])
        entities = self.records.name_entities[start:end]
        order = np.lexsort((entities, -priors))
        return [(self.records.concept_id(entities[i]), float(priors[i])) for i in order]

    def search_rows(
        self, queries: np.ndarray, k: int, *, texts: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows.

        queries (np.ndarray): (n, width) float32, unit length.
        k (int): Rows for each query.
        texts (Sequence[str] | None): (n,) what the queries are vectors of: many times
            faster among many rows of the surface channel, of which only some are then
            looked at; see `RowVectors.search`.
        RETURNS (tuple[np.ndarray, np.ndarray]): Similarities and rows, (n, k) each.
        RAISES (MetricELError): E136 without vectors, E137 for queries of another width.
        """
        vectors = self.require_vectors()
        if queries.shape[1] != vectors.width:
            raise MetricELError(Errors.E137.format(found=queries.shape[1], expected=vectors.width))
        return vectors.search(queries, k, texts)

    def candidates(
        self,
        queries: np.ndarray,
        *,
        top_k: int,
        prior_weight: float = 0.0,
        search_rows: int = 64,
        texts: Sequence[str] | None = None,
    ) -> list[list[Candidate]]:
        """Find and rank the candidates of mentions.

        queries (np.ndarray): (n, width) float32, unit length.
        top_k (int): Candidates for each mention.
        prior_weight (float): Weight of log p(entity | name).
        search_rows (int): Nearest rows to look at; raised to what `top_k` entities
            have on average, and doubled for mentions whose rows stand for fewer.
        texts (Sequence[str] | None): (n,) what the queries are vectors of; see `search_rows`.
        RETURNS (list[list[Candidate]]): For each mention concept ids with scores
            between 0 and 1, best first, ties by concept id.
        """
        if not len(queries):
            return []
        n_rows = self.require_vectors().n_rows
        entities = np.full((len(queries), top_k), -1, dtype=np.int32)
        scores = np.zeros((len(queries), top_k), dtype=np.float32)
        k = max(search_rows, top_k * -(-n_rows // len(self)))
        short = np.arange(len(queries))
        while len(short):
            part = None if texts is None else [texts[i] for i in short]
            similarities, rows = self.search_rows(queries[short], k, texts=part)
            entities[short], scores[short] = rank_entities(
                similarities, rows, self.row_targets(), prior_weight=prior_weight, top_k=top_k
            )
            # A search that found fewer rows than it was asked for has no more to give.
            short = short[(entities[short, -1] < 0) & (rows[:, -1] >= 0) & (k < n_rows)]
            k *= 2
        unique, inverse = np.unique(entities, return_inverse=True)
        # An entity of -1 stands behind the last candidate; it is first among the distinct ones.
        n_none = int(np.searchsorted(unique, 0))
        ids = self.records.entities["concept_id"].take(unique[n_none:]).to_pylist()
        names = [""] * n_none + ids
        found = zip(inverse.reshape(entities.shape).tolist(), scores.tolist(), strict=True)
        lengths = (entities >= 0).sum(axis=1).tolist()
        return [
            [(names[i], score) for i, score in zip(row[:n], values[:n], strict=True)]
            for (row, values), n in zip(found, lengths, strict=True)
        ]

    def row_targets(self) -> RowTargets:
        """RETURNS (RowTargets): What the rows stand for. RAISES (MetricELError): E136."""
        vectors = self.require_vectors()
        return self._targets_of_names._replace(kinds=vectors.kinds, refs=vectors.refs)

    def require_vectors(self) -> RowVectors:
        """RETURNS (RowVectors): The vectors. RAISES (MetricELError): E136 if there are none."""
        if self.vectors is None:
            raise MetricELError(Errors.E136)
        return self.vectors

    @cached_property
    def _targets_of_names(self) -> RowTargets:
        none = np.zeros(0, dtype=np.int32)
        records = self.records
        log_priors = records.log_priors()
        return RowTargets(none, none, records.name_offsets, records.name_entities, log_priors)

    def to_disk(self, path: str | Path) -> None:
        """Write a folder, in one step; an interrupted write leaves the old one as it was.

        path (str | Path): The folder. Its own folder gets only new vectors.
        """
        path = Path(path)
        if self.path is not None and path.exists() and path.resolve() == self.path.resolve():
            if self.vectors is not None:
                write_vectors(self.vectors, path / VECTORS_FOLDER)
            self._stored_vectors = self.vectors
            return
        if path.exists() and not (path / MANIFEST).is_file() and any(path.iterdir()):
            raise MetricELError(Errors.E138.format(path=path))
        with replaced_folder(path) as fresh:
            write_records(self.records, fresh)
            counts = {"entities": self.records.n_entities, "names": self.records.n_names}
            write_manifest(fresh, {**counts, "meta": self.meta})
            if self.vectors is not None:
                write_vectors(self.vectors, fresh / VECTORS_FOLDER)

    @classmethod
    def from_disk(cls, path: str | Path) -> "FaissKnowledgeBase":
        """Open a folder; tables are mapped, not read.

        path (str | Path): As `to_disk` makes it.
        RETURNS (FaissKnowledgeBase): The knowledge base.
        RAISES (MetricELError): E132 to E135 for a folder that is none, is newer, or is damaged.
        """
        path = Path(path)
        manifest = read_manifest(path, {"meta": dict})
        try:
            buffers = {
                name: pa.memory_map(str(path / name), "r").read_buffer()
                for name in (ENTITIES_FILE, NAMES_FILE)
            }
            records = open_records(buffers)
        except (pa.ArrowInvalid, OSError) as err:
            raise MetricELError(Errors.E135.format(path=path, reason=err)) from err
        kb = cls(records, read_vectors(path / VECTORS_FOLDER), meta=manifest["meta"])
        kb.path, kb._stored_vectors = path, kb.vectors
        return kb

    @staticmethod
    def verify(path: str | Path) -> None:
        """Compare every file with its checksum. RAISES (MetricELError): E134."""
        verify_checksums(Path(path))
        if (Path(path) / VECTORS_FOLDER).is_dir():
            verify_checksums(Path(path) / VECTORS_FOLDER)

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): The files of the folder, packed."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "kb"
            self.to_disk(root)
            files = sorted(file for file in root.rglob("*") if file.is_file())
            packed = {file.relative_to(root).as_posix(): file.read_bytes() for file in files}
        return srsly.msgpack_dumps(packed)

    @classmethod
    def from_bytes(cls, data: bytes) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): From what `to_bytes` packed."""
        folder = Path(tempfile.mkdtemp(prefix="metric-el-kb-"))
        try:
            for name, content in srsly.msgpack_loads(data).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            kb = cls.from_disk(folder)
        finally:
            # The maps stay valid after their files' names are gone.
            shutil.rmtree(folder, ignore_errors=True)
        kb.path = None
        return kb

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is not None and self._saved_here():
            return (FaissKnowledgeBase.from_disk, (self.path,))
        return (FaissKnowledgeBase.from_bytes, (self.to_bytes(),))

    def _saved_here(self) -> bool:
        """Whether the folder holds these very vectors, so that a worker can map it."""
        if self.path is None or not (self.path / MANIFEST).is_file():
            return False
        return self.vectors is self._stored_vectors


def count_mentions(mentions: Iterable[tuple[str, Sequence[str]]]) -> dict[tuple[str, str], int]:
    """Count how often a text was linked to each concept id.

    mentions (Iterable[tuple[str, Sequence[str]]]): Texts with their gold concept ids.
    RETURNS (dict[tuple[str, str], int]): For `FaissKnowledgeBase.from_entities`.
    """
    counts: dict[tuple[str, str], int] = {}
    for text, concept_ids in mentions:
        for concept_id in concept_ids:
            counts[text, concept_id] = counts.get((text, concept_id), 0) + 1
    return counts
