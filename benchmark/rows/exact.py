"""Exact lookup: the package's baseline, with every concept that it chooses from."""

from collections import Counter, defaultdict
from time import perf_counter
from typing import Any

from spacy_metric_el.text import normalise_name

from ..mentions import Corpus
from ..names import Candidates
from ..task import TOP_K, Task, Training


class ExactRow:
    """Concepts of the lower-cased string: by training frequency, then those of the knowledge base.

    The best one is that of `spacy_metric_el.evaluation.baseline.ExactLookup`.
    """

    def __init__(self, *, name: str = "exact") -> None:
        self.name = name
        self.settings: dict[str, Any] = {}
        self.notes: list[str] = []
        self.depth = TOP_K
        self._trained: dict[str, Counter[str]] = {}

    def train(self, task: Task) -> Training:
        """Count the training mentions, and hash the names."""
        started = perf_counter()
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for text, concept_ids in task.train_mentions:
            counts[normalise_name(text)].update(concept_ids)
        self._trained = dict(counts)
        self._names = task.names
        self._records = {key: i for i, key in enumerate(task.names.keys)}
        return Training(build_seconds=perf_counter() - started)

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention; the score is the share of the
        string's training mentions, 0 for concepts that only the knowledge base knows."""
        return [self._look_up(mention.text)[:top_k] for mention in corpus.mentions]

    def _look_up(self, text: str) -> Candidates:
        name = normalise_name(text)
        counter = self._trained.get(name, Counter())
        total = sum(counter.values())
        ranked = sorted(counter, key=lambda concept_id: (-counter[concept_id], concept_id))
        found = [(concept_id, counter[concept_id] / total) for concept_id in ranked]
        record = self._records.get(name)
        if record is not None:
            start, end = self._names.offsets[record : record + 2]
            known = sorted(self._names.concepts[i] for i in self._names.entities[start:end])
            found += [(concept_id, 0.0) for concept_id in known if concept_id not in counter]
        return tuple(found)
