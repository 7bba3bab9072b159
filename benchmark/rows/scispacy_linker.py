"""scispaCy's candidate generator and the decision of its linker, over the same names."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from scipy import sparse
from scispacy.linking_utils import Entity, KnowledgeBase
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.text import normalise_name

from ..errors import BenchmarkError, Errors
from ..mentions import Corpus
from ..names import Candidates, NameTable
from ..sparse import SparseIndex
from ..task import Task, Training

DEFAULT_K = 30
"""Names that scispaCy's linker looks up for a mention."""

EF_SEARCH = 200


class ScispacyRow:
    """`CandidateGenerator` with the vectors that scispaCy makes, and its linker's order.

    The thresholds are off: the best candidate counts, which has the most similar
    alias, ties by concept id. The search is exact, or scispaCy's own HNSW index.

    index (str): `exact` or `hnsw`.
    max_minutes (float): What building the HNSW index may take.
    threads (int): That build it.
    min_df (int): Names that an n-gram has to occur in; scispaCy's value is 10.
    """

    def __init__(
        self,
        *,
        name: str = "scispacy",
        index: str = "exact",
        max_minutes: float = 30.0,
        threads: int = 1,
        min_df: int = 10,
    ) -> None:
        if index not in ("exact", "hnsw"):
            expected = "'exact' or 'hnsw'"
            raise BenchmarkError(
                Errors.E410.format(setting="index", value=index, expected=expected)
            )
        self.name = name
        self.index, self.max_minutes, self.threads, self.min_df = (
            index,
            max_minutes,
            threads,
            min_df,
        )
        self.depth = DEFAULT_K
        self.settings: dict[str, Any] = {"index": index, "k": DEFAULT_K, "thresholds": None}
        self.notes = [f"accuracy with its {DEFAULT_K} nearest names, recall@64 with 64"]
        if index == "exact":
            self.notes.append(
                "exact search over its vectors, in place of the HNSW index that approximates it"
            )
        self.generator: Any = None

    def train(self, task: Task) -> Training:
        """Make vectors and index."""
        from scispacy.candidate_generation import CandidateGenerator

        started = perf_counter()
        kb = export_kb(task.kb, task.names)
        aliases = sorted(kb.alias_to_cuis)
        vectorizer, vectors, kept = make_vectors(aliases, min_df=self.min_df)
        index: Any
        if self.index == "exact":
            index = SparseIndex(vectors)
        else:
            index = build_hnsw(vectors, max_minutes=self.max_minutes, threads=self.threads)
        self.generator = CandidateGenerator(index, vectorizer, [aliases[i] for i in kept], kb)
        details = {"aliases": len(aliases), "indexed": len(kept)}
        return Training(build_seconds=perf_counter() - started, details=details)

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention the concepts of the `top_k` nearest names."""
        texts = [mention.text for mention in corpus.mentions]
        return [decide(candidates) for candidates in self.generator(texts, top_k)]


def decide(candidates: Sequence[Any]) -> Candidates:
    """Order candidates as scispaCy's `EntityLinker` does.

    candidates (Sequence[MentionCandidate]): Of one mention, by concept id.
    RETURNS (Candidates): The most similar first; ties stay in the order of ids.
    """
    scored = [(candidate.concept_id, max(candidate.similarities)) for candidate in candidates]
    ranked = sorted(scored, reverse=True, key=lambda pair: pair[1])
    return tuple((concept_id, float(score)) for concept_id, score in ranked)


def export_kb(kb: FaissKnowledgeBase, names: NameTable) -> KnowledgeBase:
    """Make scispaCy's knowledge base of ours, with the names of training mentions.

    kb (FaissKnowledgeBase): The knowledge base.
    names (NameTable): Its names: one spelling of each, as scispaCy lower-cases them.
    RETURNS (KnowledgeBase): The same concepts under the same names.
    """
    return KnowledgeBase(export_entities(kb, names))  # type: ignore[arg-type]


def export_entities(kb: FaissKnowledgeBase, names: NameTable) -> list[Entity]:
    """RETURNS (list[Entity]): scispaCy's records, in the order of concept ids."""
    entities = []
    for entity, rows in zip(kb.entities(), names.names_of_concepts(), strict=True):
        aliases = [names.texts[row] for row in rows]
        by_key = {names.keys[row]: names.texts[row] for row in rows}
        main = by_key.get(normalise_name(entity.canonical_name), aliases[0])
        entities.append(Entity(entity.concept_id, main, aliases, entity.types, entity.definition))
    return entities


def make_vectors(
    aliases: Sequence[str], *, min_df: int
) -> tuple[TfidfVectorizer, sparse.csr_matrix, np.ndarray]:
    """Make the vectors that scispaCy's index is built of.

    aliases (Sequence[str]): All names.
    min_df (int): As for scispaCy.
    RETURNS (tuple[TfidfVectorizer, csr_matrix, np.ndarray]): The vectorizer, the vectors
        (kept, n-grams) in the precision of 16 bits that scispaCy stores, and the places
        of the kept aliases: those that have any n-gram.
    """
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 3), min_df=min_df, dtype=np.float32
    )
    vectors = vectorizer.fit_transform(aliases).tocsr()
    kept = np.flatnonzero(np.diff(vectors.indptr))
    vectors = vectors[kept]
    vectors.data = vectors.data.astype(np.float16).astype(np.float32)
    return vectorizer, vectors, kept


def build_hnsw(vectors: sparse.csr_matrix, *, max_minutes: float, threads: int) -> Any:
    """Build scispaCy's index, in a process of its own that can be ended.

    vectors (csr_matrix): (n, n-grams).
    max_minutes (float): What it may take.
    threads (int): Of the build.
    RETURNS (FloatIndex): The index, ready to be searched.
    RAISES (MetricELError): E407 if time is up, E408 if the process fails.
    """
    import nmslib

    with tempfile.TemporaryDirectory(prefix="benchmark-hnsw-") as folder:
        stored, saved = Path(folder) / "vectors.npz", Path(folder) / "index.bin"
        sparse.save_npz(stored, vectors, compressed=False)
        script = Path(__file__).with_name("build_hnsw.py")
        command = [sys.executable, str(script), str(stored), str(saved), str(threads)]
        try:
            subprocess.run(
                command, check=True, timeout=60 * max_minutes, capture_output=True, text=True
            )
        except subprocess.TimeoutExpired as err:
            raise BenchmarkError(Errors.E407.format(minutes=max_minutes)) from err
        except subprocess.CalledProcessError as err:
            reason = " ".join(err.stderr.split())[-200:]
            raise BenchmarkError(Errors.E408.format(reason=reason)) from err
        index = nmslib.init(
            method="hnsw", space="cosinesimil_sparse", data_type=nmslib.DataType.SPARSE_VECTOR
        )
        index.addDataPointBatch(vectors)
        index.loadIndex(str(saved))
    index.setQueryTimeParams({"efSearch": EF_SEARCH})
    return index
