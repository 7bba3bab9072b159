"""Configs of pipelines that differ in their encoder alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import BenchmarkError, Errors
from ..options import CONFIGS
from ..wordpieces import find_model

BFLOAT16 = {
    "components.transformer.model.@architectures": "spacy_metric_el.BFloat16TransformerModel.v1"
}

ENCODERS = {
    "hash-embed-cnn": "HashEmbedCNN, 96 wide, of configs/cnn.cfg",
    "minilm": "all-MiniLM-L6-v2, float32",
    "minilm-bfloat16": "all-MiniLM-L6-v2, bfloat16",
    "bert-base": "BERT-base of random weights, float32",
    "bert-base-bfloat16": "BERT-base of random weights, bfloat16",
}


@contextmanager
def encoder_settings(encoder: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Choose the config of a pipeline.

    encoder (str): One of `ENCODERS`.
    YIELDS (tuple[Path, dict[str, Any]]): The config, and what to override.
    RAISES (MetricELError): E410 for another encoder, E406 without the weights' package.
    """
    if encoder not in ENCODERS:
        expected = f"one of {', '.join(ENCODERS)}"
        raise BenchmarkError(
            Errors.E410.format(setting="encoder", value=encoder, expected=expected)
        )
    overrides: dict[str, Any] = BFLOAT16 if encoder.endswith("-bfloat16") else {}
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        if encoder == "hash-embed-cnn":
            yield CONFIGS / "cnn.cfg", {}
        elif encoder.startswith("minilm"):
            find_model()
            yield CONFIGS / "minilm.cfg", overrides
        else:
            write_random_bert(Path(folder))
            yield CONFIGS / "minilm.cfg", {**overrides, "paths.transformer": folder}


def write_random_bert(folder: Path) -> None:
    """Write a BERT-base of random weights, which takes as long as any, with MiniLM's tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(find_model())
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(tokenizer))).save_pretrained(folder)
