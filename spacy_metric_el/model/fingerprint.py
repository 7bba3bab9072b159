"""Which encoder made a vector: a digest of all weights that decide it."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import srsly
from thinc.api import Model

DECIDING_SETTINGS = ("min_size", "max_size")
"""Of the surface channel: which n-grams its weights belong to."""

ROW_BYTES = 2_048
"""Bytes of a row of the table that weights are added up in."""


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
    """Sum the weights up: a quick sign of any change of them, within a process.

    All bits of all weights are added up as whole numbers, column by column of a table, each
    row times a number of its own, so that weights that change places are seen as well. That
    takes little longer than reading them, a twentieth of what `fingerprint` takes.

    models (Sequence[Model]): As for `fingerprint`.
    RETURNS (bytes): Differs after any step of an optimiser, however small.
    """
    digest = hashlib.blake2b(digest_size=16)
    for model in models:
        for node in model.walk():
            for name in node.param_names:
                if node.has_param(name):
                    digest.update(_bit_sums(node.ops.to_numpy(node.get_param(name))))
            for shim in node.shims:
                for tensor in _torch_tensors(shim):
                    digest.update(_bit_sums(_bytes_of(tensor)))
    return digest.digest()


def _bit_sums(array: np.ndarray) -> bytes:
    words = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    n_table = len(words) // ROW_BYTES * ROW_BYTES
    table = words[:n_table].view(np.uint64).reshape(-1, ROW_BYTES // 8)
    # Odd factors lose no bit where sums run over.
    factors = 2 * np.arange(len(table), dtype=np.uint64) + np.uint64(1)
    return np.einsum("i,ij->j", factors, table).tobytes() + words[n_table:].tobytes()


def _bytes_of(tensor: Any) -> np.ndarray:
    import torch

    # Not every kind of number of torch is one of numpy.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


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
