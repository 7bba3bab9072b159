"""What computing in bfloat16 changes: the same pipeline in both precisions."""

import tempfile
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from spacy.util import load_model

from ..mentions import Corpus
from ..names import Candidates
from ..rows.ours import ConfiguredRow, LinkerRow
from ..task import Task
from .encoders import encoder_settings

ARCHITECTURES = {
    "float32": "spacy-transformers.TransformerModel.v3",
    "bfloat16": "spacy_metric_el.BFloat16TransformerModel.v1",
}

WARM_UP = 200
"""Mentions that are linked before the clock runs."""


def measure_precision(task: Task, corpus: Corpus, model: str = "") -> dict[str, Any]:
    """Link the same mentions with a transformer in both precisions, on one thread.

    task (Task): Knowledge base, and what a ranker is fitted to.
    corpus (Corpus): What is linked.
    model (str): A trained pipeline with a transformer; MiniLM as it is, with a ranker, if empty.
    RETURNS (dict[str, Any]): Mentions with gold; of each precision the accuracy and the
        seconds; and `same`, the share of mentions whose first concept is the same.
    RAISES (MetricELError): E406 without the weights' package, E409 for a pipeline
        without a linker.
    """
    torch.set_num_threads(1)
    kb, found = task.kb, {}
    figures: dict[str, Any] = {"mentions": sum(bool(mention.gold) for mention in corpus.mentions)}
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        if not model:
            fitted = fitted_pipeline(task)
            fitted.nlp.to_disk(folder)
            kb = fitted.linker.kb
        for precision, architecture in ARCHITECTURES.items():
            settings = {"components.transformer.model.@architectures": architecture}
            row = LinkerRow(precision, {})
            row.take(load_model(model or folder, config=settings), model)
            row.linker.set_kb(kb)
            row.linker.refresh_vectors()
            # The first documents pay for what is read and set up once.
            row.link(Corpus(corpus.docs, corpus.mentions[:WARM_UP]), top_k=1)
            started = perf_counter()
            found[precision] = row.link(corpus, top_k=1)
            figures[f"{precision}_seconds"] = perf_counter() - started
            figures[f"{precision}_accuracy"] = accuracy(corpus, found[precision])
    pairs = zip(*found.values(), strict=True)
    same = [[c for c, _ in first] == [c for c, _ in second] for first, second in pairs]
    return {**figures, "same": sum(same) / max(len(same), 1)}


def fitted_pipeline(task: Task) -> ConfiguredRow:
    """RETURNS (ConfiguredRow): MiniLM as it is, with a ranker."""
    with encoder_settings("minilm") as (config, overrides):
        row = ConfiguredRow(config, "ranked", overrides=overrides)
        row.train(task)
    return row


def accuracy(corpus: Corpus, found: Sequence[Candidates]) -> float:
    """RETURNS (float): The share of mentions with gold whose first concept is a gold one."""
    pairs = zip(corpus.mentions, found, strict=True)
    right = [bool(c) and c[0][0] in mention.gold for mention, c in pairs if mention.gold]
    return sum(right) / max(len(right), 1)
