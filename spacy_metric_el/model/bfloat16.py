"""The shim between spaCy and a transformer that computes in bfloat16."""

from collections.abc import Callable
from typing import Any

import torch
from spacy_transformers.layers.hf_shim import HFShim


class BFloat16Shim(HFShim):
    """Runs the transformer under a CPU's autocast: weights and outputs are float32, products bfloat16."""

    def predict(self, inputs: Any) -> Any:
        """RETURNS (Any): The transformer's outputs, float32."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = super().predict(inputs)
        return _to_float32(outputs)

    def begin_update(self, inputs: Any) -> tuple[Any, Callable]:
        """RETURNS (tuple[Any, Callable]): The transformer's outputs, float32, and the way back."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs, backprop = super().begin_update(inputs)
        return _to_float32(outputs), backprop


def _to_float32(outputs: Any) -> Any:
    """RETURNS (Any): A transformer's outputs with all tensors in float32, also those in tuples."""
    for key, value in outputs.items():
        if isinstance(value, torch.Tensor):
            outputs[key] = value.float()
        elif isinstance(value, tuple):
            outputs[key] = tuple(part.float() for part in value)
    return outputs
