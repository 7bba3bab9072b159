"""Pipelines that differ in their encoder alone: documents a second, with a linker and without."""

from collections.abc import Callable, Sequence
from itertools import groupby
from time import perf_counter
from typing import Any

import faiss
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from spacy_metric_el.stages import record_stages

from ..mentions import Corpus, place_span
from ..rows.ours import BATCH_SIZE, ConfiguredRow
from ..task import Task
from .encoders import ENCODERS, encoder_settings

REPEATS = 3


def measure_pipeline(task: Task, corpus: Corpus, encoder: str, peer: Any = None) -> dict[str, Any]:
    """Measure a pipeline with and without its linker, on one thread.

    The encoder is as it is before training, and the ranker fitted to the task's documents:
    training changes no time.

    task (Task): Knowledge base and training corpus.
    corpus (Corpus): What is linked; its gold mentions are the entities.
    encoder (str): One of `ENCODERS`.
    peer (Any): A row that has been trained, whose linking is measured on the same documents.
    RETURNS (dict[str, Any]): Seconds of the least of some repeats, documents and mentions,
        and under `stages` where the time of linking goes.
    """
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    with encoder_settings(encoder) as (config, overrides):
        row = ConfiguredRow(config, "ranked", overrides=overrides)
        row.train(task)
    nlp, linker = row.nlp, row.linker
    encoders = [name for name in nlp.pipe_names if name in ("tok2vec", "transformer")]

    def given() -> list[Doc]:
        return gold_docs(nlp, corpus)

    def encode(docs: Sequence[Doc]) -> list[Doc]:
        with nlp.select_pipes(enable=encoders):
            return list(nlp.pipe(docs, batch_size=BATCH_SIZE))

    def encoded() -> list[Doc]:
        return encode(given())

    def link(docs: Sequence[Doc]) -> None:
        for batch in minibatch(docs, BATCH_SIZE):
            linker.set_annotations(batch, linker.predict(batch))

    link(encoded())
    encoding, linking = least_seconds(encode, given), least_seconds(link, encoded)
    found = {
        "encoder": ENCODERS[encoder],
        "documents": len(corpus.docs),
        "mentions": sum(len(doc.ents) for doc in given()),
        "names": linker.kb.records.n_names,
        "index": linker.vectors.factory,
        "encoding_seconds": encoding,
        "linking_seconds": linking,
        "stages": measure_stages(link, encoded()),
    }
    if peer is not None:
        found["peer_seconds"] = least_seconds(
            lambda docs: [
                peer.generator([ent.text for ent in doc.ents], peer.depth) for doc in docs
            ],
            encoded,
        )
    return found


def measure_stages(link: Callable[[list[Doc]], object], docs: list[Doc]) -> dict[str, float]:
    """RETURNS (dict[str, float]): The seconds of each stage that the package marks, the longest first."""
    with record_stages() as seconds:
        link(docs)
    return dict(sorted(seconds.items(), key=lambda pair: -pair[1]))


def least_seconds(work: Callable[[list[Doc]], object], make: Callable[[], list[Doc]]) -> float:
    """RETURNS (float): Seconds that the work on fresh documents takes, the least of some repeats."""
    seconds = []
    for _ in range(REPEATS):
        docs = make()
        started = perf_counter()
        work(docs)
        seconds.append(perf_counter() - started)
    return min(seconds)


def gold_docs(nlp: Language, corpus: Corpus) -> list[Doc]:
    """RETURNS (list[Doc]): The documents of a corpus with its mentions as entities, of those that overlap the first."""
    docs = [nlp.make_doc(doc.text) for doc in corpus.docs]
    for place, mentions in groupby(corpus.mentions, key=lambda mention: mention.doc):
        source, doc = corpus.docs[place], docs[place]
        ents: list[Span] = []
        for mention in mentions:
            tokens = source[mention.start : mention.end]
            start, end = place_span(doc, tokens.start_char, tokens.end_char)
            if not ents or start >= ents[-1].end:
                ents.append(Span(doc, start, end, label=mention.label or "ENTITY"))
        doc.ents = ents
    return docs
