import errno
import gc
import os

import numpy as np
import pytest

import spacy_metric_el.kb.index.buffers as buffers_module
from spacy_metric_el.kb.index.buffers import row_buffer, scratch_array

from ..vocabulary import unit_vectors


@pytest.mark.parametrize("in_memory", [96, 95])
def test_many_vectors_wait_in_a_file(monkeypatch, tmp_path, in_memory):
    monkeypatch.setattr(buffers_module, "IN_MEMORY", in_memory)
    buffer = row_buffer(6, 4, tmp_path)
    assert buffer.shape == (6, 4)
    assert buffer.dtype == (np.float32 if in_memory == 96 else np.float16)
    assert not buffer.any()
    # The file has no name, so nothing of it outlives the process.
    assert list(tmp_path.iterdir()) == []
    gc.collect()
    buffer[:] = unit_vectors(6)
    np.testing.assert_allclose(buffer, unit_vectors(6), atol=1e-3)


@pytest.mark.parametrize("in_memory", [12, 11])
def test_arrays_of_any_type(monkeypatch, tmp_path, in_memory):
    monkeypatch.setattr(buffers_module, "IN_MEMORY", in_memory)
    array = scratch_array((3,), np.int32, tmp_path)
    assert isinstance(array, np.memmap) == (in_memory == 11)
    assert (array.dtype, array.tolist()) == (np.int32, [0, 0, 0])


def test_a_full_disk_is_an_error_and_no_crash(monkeypatch, tmp_path):
    def full(descriptor, start, size):
        assert (start, size) == (0, 6 * 4 * 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(buffers_module, "IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        row_buffer(6, 4, tmp_path)
