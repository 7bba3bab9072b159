"""Where the time of linking goes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any
from unittest.mock import patch

from spacy_metric_el.kb.index import row_vectors as vectors
from spacy_metric_el.kb.index.faiss_index import EightBitRows, postings
from spacy_metric_el.kb.index.row_vectors import RowVectors
from spacy_metric_el.model import head, surface
from spacy_metric_el.pipeline.linker import MetricEntityLinker
from spacy_metric_el.ranking import ranker
from spacy_metric_el.ranking import retrieval as search
from spacy_metric_el.ranking.listwise import Scorer
from spacy_metric_el.ranking.ranker import CandidateRanker

STAGES: dict[str, list[tuple[Any, str]]] = {
    "long forms": [(search, "long_forms")],
    "hashing of n-grams": [(surface, "hash_ngrams"), (postings, "hash_ngrams")],
    "pooling": [(head, "pool_spans")],
    "vectors of mentions": [(MetricEntityLinker, "encode")],
    "lists of n-grams": [(vectors, "gather_rows")],
    "comparing of rows": [(EightBitRows, "compare")],
    "rest of the search": [(RowVectors, "search")],
    "candidates": [(search, "collect_candidates"), (search, "channel_cosines")],
    "evidence": [(CandidateRanker, "features")],
    "evidence of the document": [(ranker, "document_evidence")],
    "scorers": [(Scorer, "probabilities")],
    "annotations": [(MetricEntityLinker, "set_annotations")],
    "the rest": [(MetricEntityLinker, "predict")],
}
"""Functions of the package, and what they are called here; one that calls another counts
without it."""


def measure_stages(work: Callable[[], object]) -> dict[str, float]:
    """Measure how long the stages of linking take.

    work (Callable[[], object]): Links documents.
    RETURNS (dict[str, float]): The seconds of each of `STAGES`.
    """
    seconds = dict.fromkeys(STAGES, 0.0)
    inner = [0.0]
    with ExitStack() as stack:
        for stage, functions in STAGES.items():
            for owner, name in functions:
                stack.enter_context(_timed(owner, name, stage, seconds, inner))
        work()
    return seconds


@contextmanager
def _timed(
    owner: Any, name: str, stage: str, seconds: dict[str, float], inner: list[float]
) -> Iterator[None]:
    """Add up the seconds of a function, less those of the timed functions that it calls.

    inner (list[float]): For each call that is under way the seconds of those that it called.
    """
    function = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        inner.append(0.0)
        started = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            took = perf_counter() - started
            seconds[stage] += took - inner.pop()
            inner[-1] += took

    with patch.object(owner, name, timed):
        yield
