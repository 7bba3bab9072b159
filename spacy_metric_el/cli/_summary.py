"""What a knowledge base on disk holds, for people and for programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly

from ..errors import Errors, MetricELError

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from ..kb.index.row_vectors import RowVectors


def describe_kb(path: Path) -> dict[str, Any]:
    """Describe a knowledge base.

    path (Path): Its folder.
    RETURNS (dict[str, Any]): Counts, sizes, vectors (None without) and the manifest.
    RAISES (MetricELError): E132 to E135 for a folder that is none, or is damaged.
    """
    from ..kb import FaissKnowledgeBase
    from ..kb.storage import MANIFEST

    kb = FaissKnowledgeBase.from_disk(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in files}
    return {
        **count_kb(kb),
        "vectors": _describe_vectors(kb.vectors) if kb.vectors is not None else None,
        "bytes": sum(sizes.values()),
        "files": sizes,
        "manifest": srsly.read_json(path / MANIFEST),
    }


def describe_concepts(path: Path, concept_ids: list[str]) -> list[dict[str, Any]]:
    """Describe concepts of a knowledge base.

    path (Path): Its folder.
    concept_ids (list[str]): The concepts.
    RETURNS (list[dict[str, Any]]): scispaCy's record of each, and by name the sources
        that gave it; "training mentions" where none did.
    RAISES (MetricELError): E317 for a concept that is not there; see `describe_kb`.
    """
    from ..kb import FaissKnowledgeBase

    kb = FaissKnowledgeBase.from_disk(path)
    unknown = [concept_id for concept_id in concept_ids if concept_id not in kb]
    if unknown:
        raise MetricELError(Errors.E317.format(path=path, concept_id=unknown[0]))
    titles = [source["name"] for source in kb.meta.get("sources", ())]
    concepts = []
    for concept_id in concept_ids:
        record = kb[concept_id]._asdict()
        del record["aliases"]
        names = {
            name: [titles[i] if i < len(titles) else f"source {i + 1}" for i in places]
            or ["training mentions"]
            for name, places in kb.name_sources(concept_id).items()
        }
        concepts.append({**record, "names": names})
    return concepts


def count_kb(kb: "FaissKnowledgeBase") -> dict[str, int]:
    """Count what a knowledge base holds.

    kb (FaissKnowledgeBase): The knowledge base.
    RETURNS (dict[str, int]): Concepts, names (distinct in their normal form), names
        of several concepts, definitions, and uses of names in training corpora.
    """
    records = kb.records
    links = records.name_offsets[1:] - records.name_offsets[:-1]
    return {
        "concepts": records.n_entities,
        "names": records.n_names,
        "ambiguous_names": int((links > 1).sum()),
        "definitions": records.n_definitions,
        "counted_mentions": int(records.name_counts.sum()),
    }


def count_rows(summary: dict[str, Any]) -> dict[str, str]:
    """RETURNS (dict[str, str]): The lines of a table on the counts of `describe_kb`."""
    lines = {
        "Concepts": f"{summary['concepts']:,}",
        "Names": f"{summary['names']:,} ({summary['ambiguous_names']:,} of several concepts)",
        "Definitions": f"{summary['definitions']:,}",
        "Counted mentions": f"{summary['counted_mentions']:,}",
    }
    vectors = summary["vectors"]
    if vectors is None:
        return {**lines, "Rows": "none: no pipeline has encoded the names yet"}
    return {**lines, "Rows": f"{vectors['rows']:,}"}


def format_bytes(size: float) -> str:
    """RETURNS (str): A size in the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _describe_vectors(vectors: "RowVectors") -> dict[str, Any]:
    from ..kb.index.faiss_index import search_settings

    return {
        "rows": vectors.n_rows,
        "width": vectors.width,
        "index": vectors.factory,
        "postings": vectors.postings is not None,
        "search": search_settings(vectors.index),
        "fingerprint": vectors.fingerprint,
    }
