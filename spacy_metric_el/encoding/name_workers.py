"""Names encoded by several processes at once."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

import numpy as np
from thinc.api import NumpyOps

from ..errors import Errors, MetricELError
from .name_encoder import NameEncoder

NAMES_PER_TASK = 4_096

Encode = Callable[[Sequence[str]], np.ndarray]

_inherited: NameEncoder | None = None


@contextmanager
def name_workers(
    encoder: NameEncoder, workers: int, advance: Callable[[int], object]
) -> Iterator[Encode]:
    """Start processes that encode names, for as long as the context lasts.

    Each inherits the encoder as it is, and computes on one thread.

    encoder (NameEncoder): On the CPU, if there is more than one worker.
    workers (int): Processes; with 1 this process encodes itself.
    advance (Callable[[int], object]): Called with the number of names that are done.
    YIELDS (Encode): As `NameEncoder.encode`.
    RAISES (MetricELError): E015 for workers below 1, on a GPU, on a system where
        processes inherit nothing, and, while it is used, if a worker dies.
    """
    global _inherited
    if workers == 1:
        yield partial(encoder.encode, advance=advance)
        return
    if workers < 1:
        raise MetricELError(Errors.E015.format(workers=workers, reason="it must be 1 or more"))
    if not isinstance(encoder.model.ops, NumpyOps):
        raise MetricELError(Errors.E015.format(workers=workers, reason="a GPU is in use"))
    if "fork" not in multiprocessing.get_all_start_methods():
        reason = "processes cannot be forked on this system"
        raise MetricELError(Errors.E015.format(workers=workers, reason=reason))
    _inherited = encoder
    fork = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(workers, fork, _compute_on_one_thread) as pool:

            def encode(names: Sequence[str]) -> np.ndarray:
                tasks = [
                    names[start : start + NAMES_PER_TASK]
                    for start in range(0, len(names), NAMES_PER_TASK)
                ]
                parts = [np.zeros((0, encoder.width), dtype=np.float32)]
                try:
                    for part in pool.map(_encode, tasks):
                        advance(len(part))
                        parts.append(part)
                except BrokenProcessPool as err:
                    reason = "one of them died, perhaps for want of memory"
                    raise MetricELError(Errors.E015.format(workers=workers, reason=reason)) from err
                return np.concatenate(parts)

            yield encode
    finally:
        _inherited = None


def _compute_on_one_thread() -> None:
    import torch

    # A forked process hangs where torch computes on more threads than one.
    torch.set_num_threads(1)


def _encode(names: Sequence[str]) -> np.ndarray:
    if _inherited is None:
        raise RuntimeError("this process has inherited no encoder")
    return _inherited.encode(names)
