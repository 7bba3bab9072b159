"""The knowledge base: a vocabulary and, once an encoder has been over it, its vectors."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import srsly

from ..errors import Errors, MetricELError
from ..files import (
    BUILD_PREFIX,
    is_being_replaced,
    replaced_file,
    replaced_folder,
    scratch_folder,
)
from ..mentions import Candidate
from .building.tables import SourcedEntity, build_tables
from .entity import Entity
from .index.row_vectors import RowVectors, read_vectors, write_vectors
from .records import (
    ENTITIES_FILE,
    NAMES_FILE,
    MentionCounts,
    Records,
    link_mass,
    open_records,
    write_records,
)
from .storage import MANIFEST, read_manifest, verify_checksums, write_manifest

VECTORS = "vectors"
"""What the manifest calls the folder of vectors, and how its name begins."""

OPENINGS = 5
"""How often a folder is opened that is replaced at each time."""

PAUSE = 0.02
"""Seconds until a folder is opened again that was taken away for another one. Most systems
let them change places in one step, so that none is ever missing."""


class FaissKnowledgeBase:
    """Entities, their names, priors p(entity | name), and the vectors that lie beside them.

    A linker searches in vectors of its own encoder: those of the knowledge base if they
    are, else others that the linker makes and holds.

    records (Records): The vocabulary.
    vectors (RowVectors | None): Of the names, by one encoder; None until one has been over them.
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
        # Sizes and checksums of its tables, where it lies in a folder.
        self._files: dict[str, Any] | None = None

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
        sources: Iterable[Iterable[Entity | SourcedEntity]],
        counts: MentionCounts | None = None,
        *,
        corpus: Iterable[Entity] = (),
        meta: dict[str, Any] | None = None,
        work_folder: str | Path | None = None,
        merge: bool = True,
        progress: bool = False,
    ) -> "FaissKnowledgeBase":
        """Build the records of a knowledge base from streams, in bounded memory.

        sources (Iterable[Iterable[Entity | SourcedEntity]]): The concepts of each source;
            those of several are merged by their ids.
        counts (MentionCounts | None): How often a text was linked to a concept id.
        corpus (Iterable[Entity]): Concepts that are known of training mentions alone.
        meta (dict[str, Any] | None): Free text for the manifest.
        work_folder (str | Path | None): Where files grow while it is built, which need some
            times the room of the tables; the system's folder for such files if None.
        merge (bool): If not, a concept that comes twice is an error.
        progress (bool): Whether to show progress bars.
        RETURNS (FaissKnowledgeBase): Without vectors.
        RAISES (MetricELError): E102, E130, E131, E140.
        """
        with scratch_folder(work_folder, BUILD_PREFIX) as folder:
            # The maps stay valid after their files' names are gone.
            records = build_tables(
                sources, counts, folder=folder, corpus=corpus, merge=merge, progress=progress
            )
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
        for name in records.names_of(entity):
            links = records.links_of(name)
            bits = int(records.name_sources[links][records.name_entities[links] == entity][0])
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
        records = self.records
        record = records.name_index(name)
        if record < 0:
            return []
        links = records.links_of(record)
        entities = records.name_entities[links]
        mass = link_mass(
            records.name_counts[links],
            records.name_in_vocabulary[links],
            records.name_is_preferred[links],
        )
        order = np.lexsort((entities, -mass))
        priors = mass / mass.sum()
        return [(records.concept_id(entities[i]), float(priors[i])) for i in order]

    def require_vectors(self) -> RowVectors:
        """RETURNS (RowVectors): The vectors. RAISES (MetricELError): E136 if there are none."""
        if self.vectors is None:
            raise MetricELError(Errors.E136)
        return self.vectors

    def to_disk(self, path: str | Path) -> None:
        """Write a folder, in one step; an interrupted write leaves the old one as it was.

        path (str | Path): The folder. Its own folder gets only new vectors.
        RAISES (MetricELError): E138 for a folder that is neither empty nor a knowledge base.
        """
        path = Path(path)
        if self.path is not None and self._lies_there() and path.resolve() == self.path.resolve():
            if self.vectors is not None and not self._is_stored():
                self.store_vectors(self.vectors)
            return
        if path.exists() and not (path / MANIFEST).is_file() and any(path.iterdir()):
            raise MetricELError(Errors.E138.format(path=path))
        with replaced_folder(path) as fresh:
            write_records(self.records, fresh)
            name = _write_vectors_into(self.vectors, fresh)
            counts = {"entities": self.records.n_entities, "names": self.records.n_names}
            write_manifest(fresh, {**counts, "meta": self.meta, VECTORS: name})

    def store_vectors(self, vectors: RowVectors) -> None:
        """Put vectors into the knowledge base's own folder, in place of those that it has.

        They are written beside the old ones; a reader sees the ones or the others. Nothing
        is written if the folder has vectors of the same names by the same encoder.

        vectors (RowVectors): Of its names.
        RAISES (OSError): If the folder cannot be written, or holds another vocabulary by now.
        """
        if self.path is None:
            raise FileNotFoundError("the knowledge base lies in no folder")
        if not self._lies_there():
            raise FileNotFoundError("the folder holds another knowledge base by now")
        before = read_manifest(self.path)
        replaced = _vectors_folder(self.path, before)
        name = _folder_name(vectors)
        if replaced.name != name or not _is_readable(replaced):
            write_vectors(vectors, self.path / name)
            # Writing takes long enough for another process to replace the whole folder.
            if not self._lies_there():
                shutil.rmtree(self.path / name, ignore_errors=True)
                raise FileNotFoundError("the folder holds another knowledge base by now")
            with replaced_file(self.path / MANIFEST) as fresh:
                srsly.write_json(fresh, {**before, VECTORS: name})
            if replaced.name != name:
                shutil.rmtree(replaced, ignore_errors=True)
        self.vectors = self._stored_vectors = vectors

    def with_vectors(self, vectors: RowVectors | None) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): The same records beside other vectors; itself, if they are its own."""
        if vectors is self.vectors:
            return self
        return FaissKnowledgeBase(self.records, vectors, meta=self.meta)

    @classmethod
    def from_disk(cls, path: str | Path) -> "FaissKnowledgeBase":
        """Open a folder; tables are mapped, not read.

        A folder that another process replaces meanwhile is opened again.

        path (str | Path): As `to_disk` makes it.
        RETURNS (FaissKnowledgeBase): The knowledge base.
        RAISES (MetricELError): E132 to E135 for a folder that is none, is newer, or is damaged.
        """
        path = Path(path)
        for _ in range(OPENINGS):
            before = _state_of(path / MANIFEST)
            try:
                kb = cls._open(path)
            except (MetricELError, OSError):
                if is_being_replaced(path):
                    time.sleep(PAUSE)
                elif _state_of(path / MANIFEST) == before:
                    raise
            else:
                if _state_of(path / MANIFEST) == before:
                    return kb
        return cls._open(path)

    @classmethod
    def _open(cls, path: Path) -> "FaissKnowledgeBase":
        manifest = read_manifest(path, {"meta": dict})
        try:
            buffers = {
                name: pa.memory_map(str(path / name), "r").read_buffer()
                for name in (ENTITIES_FILE, NAMES_FILE)
            }
            records = open_records(buffers)
        except (pa.ArrowInvalid, OSError) as err:
            raise MetricELError(Errors.E135.format(path=path, reason=err)) from err
        vectors = read_vectors(_vectors_folder(path, manifest, must_be_there=True))
        kb = cls(records, vectors, meta=manifest["meta"])
        kb.path, kb._stored_vectors, kb._files = path, vectors, manifest["files"]
        return kb

    @staticmethod
    def verify(path: str | Path) -> None:
        """Compare every file with its checksum. RAISES (MetricELError): E132 to E135."""
        path = Path(path)
        verify_checksums(path)
        vectors = _vectors_folder(path, read_manifest(path), must_be_there=True)
        if vectors.is_dir():
            verify_checksums(vectors)

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
        if self._is_stored() and self._lies_there():
            return (FaissKnowledgeBase.from_disk, (self.path,))
        return (FaissKnowledgeBase.from_bytes, (self.to_bytes(),))

    def _lies_there(self) -> bool:
        """Whether the folder that it was opened in still holds its tables, and no others."""
        try:
            return self.path is not None and read_manifest(self.path)["files"] == self._files
        except (MetricELError, OSError):
            return False

    def _is_stored(self) -> bool:
        """Whether the folder holds these very vectors, so that a worker can map them."""
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


def _vectors_folder(
    path: Path, manifest: Mapping[str, Any], *, must_be_there: bool = False
) -> Path:
    """Say where a manifest says that vectors lie.

    path (Path): Folder of the knowledge base.
    manifest (Mapping[str, Any]): Of the folder; that of version 0.1 does not say.
    must_be_there (bool): Whether a folder that the manifest names has to be there.
    RETURNS (Path): The folder of vectors.
    RAISES (MetricELError): E133 for a place that is no folder of vectors, E135 for one that
        is named and missing.
    """
    named = manifest.get(VECTORS)
    name = named or VECTORS
    # It may be removed: nothing outside of the knowledge base may be meant.
    if not isinstance(name, str) or not re.fullmatch(rf"{VECTORS}(-\w+)?", name):
        raise MetricELError(Errors.E133.format(path=path / MANIFEST, found=f"no valid `{VECTORS}`"))
    if must_be_there and named and not (path / name / MANIFEST).is_file():
        raise MetricELError(Errors.E135.format(path=path, reason=f"no vectors in {name}"))
    return path / name


def _write_vectors_into(vectors: RowVectors | None, folder: Path) -> str | None:
    """RETURNS (str | None): The name of a folder inside, with the vectors; None without any."""
    if vectors is None:
        return None
    name = _folder_name(vectors)
    write_vectors(vectors, folder / name)
    return name


def _folder_name(vectors: RowVectors) -> str:
    """RETURNS (str): What a folder of vectors is called; vectors of other names or by another encoder get another name."""
    digest = hashlib.sha256(f"{vectors.fingerprint} {vectors.factory} ".encode())
    digest.update(vectors.names.tobytes())
    return f"{VECTORS}-{digest.hexdigest()[:12]}"


def _is_readable(vectors: Path) -> bool:
    """RETURNS (bool): Whether a folder of vectors is there, with its files."""
    try:
        read_manifest(vectors)
    except (MetricELError, OSError):
        return False
    return True


def _state_of(path: Path) -> tuple[int, bytes] | None:
    """RETURNS (tuple[int, bytes] | None): What tells a file from one that took its place: its number and content; None if there is none."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_ino, file.read()
    except OSError:
        return None
