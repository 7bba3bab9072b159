"""Candidates of the same mentions from the same names: scispaCy's generator and this project's linker."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from os import cpu_count
from pathlib import Path
from time import perf_counter
from typing import Any

import joblib
import srsly
from scipy import sparse
from scispacy.candidate_generation import LinkerPaths
from scispacy.linking_utils import KnowledgeBase

from spacy_metric_el.corpus.pubtator import read_pubtator
from spacy_metric_el.kb import Entity, FaissKnowledgeBase

from ..errors import BenchmarkError, Errors
from ..rows.scispacy_linker import make_vectors
from .measure import in_own_process, size_of
from .pipeline import plain_pipeline

Gold = list[tuple[str, list[str]]]
"""Texts of mentions with their concept ids."""


def compare_peers(
    kb: FaissKnowledgeBase,
    test: Path,
    n_names: int,
    *,
    max_minutes: float,
    seed: int,
    with_scispacy: bool = True,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure both on some of the names of a vocabulary, this project's linker first.

    kb (FaissKnowledgeBase): The vocabulary.
    test (Path): PubTator file with gold mentions; their concepts are taken first.
    n_names (int): Names to take; 0 for all.
    max_minutes (float): What scispaCy's index may take.
    seed (int): Draws the other concepts.
    with_scispacy (bool): Whether to measure it, too.
    YIELDS (tuple[str, dict[str, Any]]): The linker, and its seconds, MiB, mentions a second
        and recall.
    """
    gold = gold_mentions(kb, test)
    entities = draw_entities(kb, {i for _, ids in gold for i in ids}, n_names, seed=seed)
    with tempfile.TemporaryDirectory(prefix="bench-kb-") as folder:
        work = Path(folder)
        srsly.write_jsonl(work / "gold.jsonl", gold)
        srsly.write_jsonl(work / "kb.jsonl", [entity._asdict() for entity in entities])
        names = {name for entity in entities for name in (entity.canonical_name, *entity.aliases)}
        shared = {"names": len(names), "concepts": len(entities), "mentions": len(gold)}
        yield "ours", {**shared, **measure_ours(entities, work)}
        if with_scispacy:
            yield "scispacy", {**shared, **measure_scispacy(work, max_minutes=max_minutes)}


def gold_mentions(kb: FaissKnowledgeBase, test: Path) -> Gold:
    """RETURNS (Gold): The mentions of a file that have a concept of the vocabulary."""
    found = [
        (mention.text, [i for i in mention.concept_ids if i in kb])
        for document in read_pubtator(test)
        for mention in document.mentions
    ]
    return [(text, ids) for text, ids in found if ids]


def draw_entities(
    kb: FaissKnowledgeBase, wanted: set[str], n_names: int, *, seed: int
) -> list[Entity]:
    """RETURNS (list[Entity]): The wanted concepts, and others until there are so many names."""
    others = [concept_id for concept_id in kb if concept_id not in wanted]
    random.Random(seed).shuffle(others)
    entities: list[Entity] = []
    count = 0
    for concept_id in [*sorted(wanted), *others]:
        if n_names and count >= n_names and concept_id not in wanted:
            break
        entity = kb[concept_id]
        entities.append(entity)
        count += len({entity.canonical_name, *entity.aliases})
    return entities


def measure_ours(entities: Sequence[Entity], work: Path) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): Of this project's linker, with its default settings and untrained."""
    started = perf_counter()
    FaissKnowledgeBase.from_entities(entities).to_disk(work / "ours.kb")
    nlp, linker = plain_pipeline()
    linker.load_kb(work / "ours.kb", nlp=nlp, progress=False)
    seconds = perf_counter() - started
    nlp.to_disk(work / "ours")
    measured = in_own_process("ours", work, work / "gold.jsonl", 0)
    return {"build_seconds": seconds, "disk_mib": size_of(work / "ours.kb"), **measured}


def measure_scispacy(work: Path, *, max_minutes: float) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): Of scispaCy's generator over its own index; a note where that takes too long to build."""
    folder = work / "scispacy"
    folder.mkdir()
    paths = LinkerPaths.from_directory(folder)
    started = perf_counter()
    aliases = sorted(KnowledgeBase(str(work / "kb.jsonl")).alias_to_cuis)
    vectorizer, vectors, kept = make_vectors(aliases, min_df=10)
    joblib.dump(vectorizer, paths.tfidf_vectorizer)
    sparse.save_npz(paths.tfidf_vectors, vectors)
    srsly.write_json(paths.concept_aliases_list, [aliases[i] for i in kept])
    script = Path(__file__).parents[1] / "rows" / "build_hnsw.py"
    command = [sys.executable, str(script), paths.tfidf_vectors, paths.ann_index, str(cpu_count())]
    try:
        subprocess.run(
            command, check=True, timeout=60 * max_minutes, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return {"note": f"its index was not built within {max_minutes:g} minutes"}
    except subprocess.CalledProcessError as err:
        reason = " ".join(err.stderr.split())[-200:]
        raise BenchmarkError(Errors.E408.format(reason=reason)) from err
    seconds = perf_counter() - started
    measured = in_own_process("scispacy", work, work / "gold.jsonl", 0)
    return {"build_seconds": seconds, "disk_mib": size_of(folder), **measured}
