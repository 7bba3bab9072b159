"""Names encoded a second: a knowledge base's, and those that plain transformers would take."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from spacy.training.initialize import init_nlp

from spacy_metric_el.encoding.name_docs import length_batches
from spacy_metric_el.encoding.name_encoder import CHARACTERS_PER_BATCH

from ..rows.ours import ConfiguredRow
from ..task import Task
from ..wordpieces import WordpieceModel, find_model
from .encoders import encoder_settings

CONTEXT = {"linker.model.name_context": True}
"""Names go through the transformer."""

REPEATS = 3


def measure_names(task: Task, n: int, *, seed: int = 0) -> dict[str, Any]:
    """Encode the same names with MiniLM in both ways, on one thread, in float32, in turn.

    task (Task): With a knowledge base.
    n (int): Names to encode; drawn.
    seed (int): Of the draw.
    RETURNS (dict[str, Any]): Names, and the least of the seconds that each way takes.
    RAISES (MetricELError): E406 without the weights' package.
    """
    torch.set_num_threads(1)
    texts = task.names.texts
    drawn = np.random.default_rng(seed).choice(len(texts), min(n, len(texts)), replace=False)
    names = [texts[i] for i in drawn.tolist()]
    with encoder_settings("minilm") as (config, overrides):
        row = ConfiguredRow(config, "untrained", overrides={**overrides, **CONTEXT})
        row.take(init_nlp(row.configure(task)), config)
    plain = WordpieceModel(find_model(), precision="float32")
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: row.linker.encoder.names.encode(names),
        "plain": lambda: encode_plainly(plain, names),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, encode in ways.items():
            started = perf_counter()
            encode()
            seconds[way].append(perf_counter() - started)
    return {"names": len(names), **{f"{way}_seconds": min(seconds[way]) for way in ways}}


@torch.inference_mode()
def encode_plainly(model: WordpieceModel, names: Sequence[str]) -> np.ndarray:
    """RETURNS (np.ndarray): (n, width) float32, by transformers alone, in the batches that a build takes."""
    vectors = np.zeros((len(names), model.width), dtype=np.float32)
    for batch in length_batches([len(name) + 2 for name in names], CHARACTERS_PER_BATCH):
        vectors[batch] = model.encode_names([names[i] for i in batch]).numpy()
    return vectors
