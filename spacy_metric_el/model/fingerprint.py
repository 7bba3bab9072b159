"""Which encoder made a vector: a digest of all weights that decide it."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import srsly
from thinc.api import Model

DECIDING_SETTINGS = ("min_size", "max_size")
"""Of the surface channel: which n-grams its weights belong to."""


def fingerprint(models: Sequence[Model]) -> str:
    """Digest the weights and settings of models.

    models (Sequence[Model]): All that a vector passes through. The digest does not
        depend on their order, nor on whether a listener stands between them.
    RETURNS (str): 32 hexadecimal digits.
    """
    digests = sorted(
        hashlib.blake2b(
            name.encode("utf8") + str(array.shape).encode("ascii") + array.tobytes(),
            digest_size=16,
        ).digest()
        for model in models
        for name, array in _weights(model)
    )
    settings = sorted(
        srsly.json_dumps(
            {key: value for key, value in node.attrs.items() if key in DECIDING_SETTINGS},
            sort_keys=True,
        )
        for model in models
        for node in model.walk()
        if node.name == "surface_channel"
    )
    return hashlib.blake2b(
        b"".join(digests) + "".join(settings).encode("utf8"), digest_size=16
    ).hexdigest()


def probe(models: Sequence[Model]) -> bytes:
    """Sample the weights: a cheap sign that they may have changed.

    models (Sequence[Model]): As for `fingerprint`.
    RETURNS (bytes): Differs after a step of an optimiser.
    """
    samples = []
    for model in models:
        for node in model.walk():
            for name in node.param_names:
                if node.has_param(name):
                    flat: Any = node.ops.to_numpy(node.get_param(name)).reshape(-1)
                    samples.append(flat[:: max(1, flat.size // 8)].tobytes())
            for shim in node.shims:
                for tensor in _torch_tensors(shim):
                    flat = tensor.reshape(-1)
                    part = flat[:: max(1, flat.numel() // 8)].detach().float().cpu().numpy()
                    samples.append(part.tobytes())
    return hashlib.blake2b(b"".join(samples), digest_size=16).digest()


def _weights(model: Model) -> Iterator[tuple[str, np.ndarray]]:
    for node in model.walk():
        for name in node.param_names:
            if node.has_param(name):
                yield f"{node.name}.{name}", node.ops.to_numpy(node.get_param(name))
        for shim in node.shims:
            torch_model: Any = getattr(shim, "_model", None)
            if hasattr(torch_model, "state_dict"):
                for name, tensor in torch_model.state_dict().items():
                    yield name, tensor.detach().float().cpu().numpy()


def _torch_tensors(shim: object) -> Iterator:
    torch_model: Any = getattr(shim, "_model", None)
    if hasattr(torch_model, "parameters"):
        yield from torch_model.parameters()
