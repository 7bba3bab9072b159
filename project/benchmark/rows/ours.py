"""This project's linker, as a trained pipeline."""

from itertools import groupby
from time import perf_counter
from typing import Any

from spacy.util import load_model, minibatch

from spacy_metric_el.model.feeding import feed, feeding_pipes

from ..errors import BenchmarkError, Errors
from ..mentions import Corpus, place_span
from ..names import Candidates
from ..task import TOP_K, Task, Training

BATCH_SIZE = 32
"""Documents that go through the pipeline together."""


class OursRow:
    """`metric_entity_linker` over the spans of the gold mentions.

    model (str): Folder or package of the pipeline.
    """

    def __init__(self, model: str, *, name: str = "ours") -> None:
        self.name = name
        self.settings: dict[str, Any] = {"model": model}
        self.notes: list[str] = []
        self.depth = TOP_K
        self.model = model

    def train(self, task: Task) -> Training:
        """Load the pipeline and the knowledge base, and encode the names."""
        started = perf_counter()
        try:
            self.nlp = load_model(self.model)
        except OSError as err:
            raise BenchmarkError(Errors.E401.format(path=self.model)) from err
        pipes = [pipe for _, pipe in self.nlp.pipeline if hasattr(pipe, "predict_spans")]
        if not pipes:
            found = ", ".join(self.nlp.pipe_names)
            raise BenchmarkError(Errors.E409.format(path=self.model, pipes=found))
        linker: Any = pipes[0]
        self.linker = linker
        linker.load_kb(task.kb_path, nlp=self.nlp, progress=task.progress)
        linker.refresh_vectors()
        self.notes.append("trained by spacy train, whose time is not counted here")
        return Training(build_seconds=perf_counter() - started)

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention; ids and similarities."""
        pipes = feeding_pipes(self.nlp, self.linker.model)
        by_doc = groupby(corpus.mentions, key=lambda mention: mention.doc)
        found: list[Candidates] = []
        for batch in minibatch(((place, list(group)) for place, group in by_doc), BATCH_SIZE):
            docs, spans = [], []
            for i, (place, mentions) in enumerate(batch):
                source = corpus.docs[place]
                doc = self.nlp.make_doc(source.text)
                for mention in mentions:
                    tokens = source[mention.start : mention.end]
                    spans.append((i, *place_span(doc, tokens.start_char, tokens.end_char)))
                docs.append(doc)
            linked = self.linker.predict_spans(feed(pipes, docs), spans, top_k=top_k)
            found.extend(
                tuple((str(concept_id), float(score)) for concept_id, score in candidates)
                for candidates in linked
            )
        return found
