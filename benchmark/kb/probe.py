"""What a knowledge base takes in a process of its own: time to open, memory, searches a second."""

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import srsly

MIB = 2**20
Generator = Callable[[list[str]], list[list[str]]]
"""Texts of mentions to concept ids, best first."""

OpenGenerator = Callable[[Path], Generator]

BATCH = 64
TOP_K = 64


def resident() -> float:
    """RETURNS (float): Resident memory of this process, MiB."""
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss / MIB


def proportional(process: psutil.Process) -> float:
    """RETURNS (float): Proportional set size of a process, MiB: shared pages count in parts."""
    return process.memory_full_info().pss / MIB


def search_batches(search: Callable[[slice], Any], n_queries: int) -> float:
    """RETURNS (float): Seconds that batches of 64 queries take."""
    started = perf_counter()
    for start in range(0, n_queries, BATCH):
        search(slice(start, start + BATCH))
    return perf_counter() - started


def measure(folder: Path, queries: np.ndarray, texts: list[str], rows: Path) -> dict[str, float]:
    """Open a knowledge base, and search it.

    folder (Path): The knowledge base.
    queries (np.ndarray): (q, width) float32.
    texts (list[str]): (q,) what they are vectors of.
    rows (Path): Gets the rows found, (q, 64) int64.
    RETURNS (dict[str, float]): Seconds, MiB and mentions a second.
    """
    import faiss

    from spacy_metric_el.kb import FaissKnowledgeBase
    from spacy_metric_el.mentions import Candidate, encoded_names
    from spacy_metric_el.ranking.retrieval import keep_first, name_candidates, retrieve
    from spacy_metric_el.settings import LinkerSettings

    faiss.omp_set_num_threads(1)
    before = resident()
    started = perf_counter()
    kb = FaissKnowledgeBase.from_disk(folder)
    seconds = perf_counter() - started
    found = {"load_seconds": seconds, "loaded_mib": resident() - before}

    vectors, settings = kb.require_vectors(), LinkerSettings()

    def search(part: slice) -> np.ndarray:
        return vectors.search(queries[part], TOP_K, texts=texts[part])[1]

    def candidates(part: slice) -> list[list[Candidate]]:
        mentions = encoded_names(texts[part], queries[part], vectors.n_empty)
        table = retrieve(kb.records, vectors, mentions, settings, top_k=TOP_K)
        return name_candidates(kb.records, *keep_first(table, TOP_K))

    n = len(queries)
    candidates(slice(BATCH))
    found["searches_per_second"] = n / search_batches(search, n)
    found["candidates_per_second"] = n / search_batches(candidates, n)
    found["searched_mib"] = resident() - before
    singles = range(min(500, n))
    started = perf_counter()
    for i in singles:
        search(slice(i, i + 1))
    found["one_by_one_per_second"] = len(singles) / (perf_counter() - started)
    np.save(rows, search(slice(n)))
    return found


def share(folder: Path, texts: list[str], n_process: int) -> dict[str, float]:
    """Link in worker processes, and add up what is one's own of all processes' memory.

    folder (Path): The knowledge base, with vectors of `plain_pipeline`.
    texts (list[str]): Mentions; each becomes a document.
    n_process (int): Worker processes.
    RETURNS (dict[str, float]): MiB, proportional: of this process after it has linked some
        documents itself, and of it and its workers while they link.
    """
    from .pipeline import mention_docs, plain_pipeline

    nlp, linker = plain_pipeline()
    linker.load_kb(folder, nlp=nlp, progress=False)
    docs = mention_docs(nlp, texts)
    for doc in docs[: 4 * BATCH]:
        linker(doc)
    alone = proportional(psutil.Process())
    together = 0.0
    for i, _ in enumerate(nlp.pipe(docs, n_process=n_process, batch_size=BATCH)):
        if i == len(docs) // 2:
            main = psutil.Process()
            together = sum(proportional(p) for p in (main, *main.children()))
    return {"alone_mib": alone, "together_mib": together}


def generate(way: str, folder: Path, gold: Path) -> dict[str, float]:
    """Load a candidate generator, and let it find candidates of mentions.

    way (str): `ours` or `scispacy`.
    folder (Path): As `peers` fills it.
    gold (Path): Texts of mentions with their concept ids.
    RETURNS (dict[str, float]): Seconds, MiB, mentions a second; the share of mentions whose
        concept is the first candidate, and is among those of 64 names or concepts.
    """
    pairs = list(srsly.read_jsonl(gold))
    # What the libraries take is not counted.
    open_generator = {"ours": _ours, "scispacy": _scispacy}[way]()
    before = resident()
    started = perf_counter()
    candidates = open_generator(folder)
    candidates([pairs[0][0]])
    found = {"load_seconds": perf_counter() - started, "loaded_mib": resident() - before}
    ranked: list[list[str]] = []
    started = perf_counter()
    for start in range(0, len(pairs), BATCH):
        ranked += candidates([text for text, _ in pairs[start : start + BATCH]])
    found["candidates_per_second"] = len(pairs) / (perf_counter() - started)
    found["searched_mib"] = resident() - before
    right = [
        [concept_id in gold for concept_id in ids]
        for ids, (_, gold) in zip(ranked, pairs, strict=True)
    ]
    found["acc"] = sum(hits[:1] == [True] for hits in right) / len(right)
    found["recall_at_64"] = sum(map(any, right)) / len(right)
    return found


def _ours() -> OpenGenerator:
    import faiss
    import spacy

    from .pipeline import LINKER, plain_pipeline

    faiss.omp_set_num_threads(1)
    plain_pipeline()

    def open_generator(folder: Path) -> Generator:
        nlp = spacy.load(folder / "ours")
        linker: Any = nlp.get_pipe(LINKER)

        def candidates(texts: list[str], nlp: Any = nlp) -> list[list[str]]:
            # The linker holds its pipeline weakly, so this function keeps it.
            found = linker.search_names(texts, top_k=TOP_K)
            return [[concept_id for concept_id, _ in ranked] for ranked in found]

        return candidates

    return open_generator


def _scispacy() -> OpenGenerator:
    from scispacy.candidate_generation import CandidateGenerator, LinkerPaths
    from scispacy.linking_utils import KnowledgeBase

    from ..rows.scispacy_linker import decide

    def open_generator(folder: Path) -> Generator:
        aliases, vectorizer, index = LinkerPaths.from_directory(folder / "scispacy").load()
        kb = KnowledgeBase(str(folder / "kb.jsonl"))
        generator = CandidateGenerator(index, vectorizer, aliases, kb)

        def candidates(texts: list[str]) -> list[list[str]]:
            found = generator(texts, TOP_K)
            return [[concept_id for concept_id, _ in decide(pairs)] for pairs in found]

        return candidates

    return open_generator


if __name__ == "__main__":
    way, folder, asked_with, *rest = sys.argv[1:]
    if way == "measure":
        texts = srsly.read_json(Path(rest[0]))
        result = measure(Path(folder), np.load(asked_with), texts, Path(rest[1]))
    elif way == "share":
        lines = Path(asked_with).read_text(encoding="utf8").splitlines()
        result = share(Path(folder), lines, int(rest[0]))
    else:
        result = generate(way, Path(folder), Path(asked_with))
    print(json.dumps(result))
