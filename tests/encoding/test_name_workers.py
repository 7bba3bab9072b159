"""Names encoded by several processes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import spacy
from thinc.api import NumpyOps

from spacy_metric_el.encoding import name_workers as workers_module
from spacy_metric_el.encoding.name_workers import name_workers
from spacy_metric_el.errors import MetricELError

from ..util import LINKER, NICKNAMES, make_kb, make_nlp

NAMES = [f"name {i} of {i % 7}" for i in range(50)]


@pytest.fixture(params=["own", "listener", "surface"])
def encoder(request):
    spacy.util.fix_random_seed(0)
    kind = "own" if request.param == "surface" else request.param
    nlp = make_nlp(kind, model={"name_context": request.param != "surface"})
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb(NICKNAMES))
    linker.encode_names(["name"])
    # The encoder holds its pipeline weakly.
    linker.encoder.names.nlp = nlp
    return linker.encoder.names


@pytest.mark.parametrize("n_names", [0, 1, 50])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_encode_as_one_process_does(monkeypatch, encoder, workers, n_names):
    monkeypatch.setattr(workers_module, "NAMES_PER_TASK", 8)
    done = []
    with name_workers(encoder, workers, done.append) as encode:
        found = encode(NAMES[:n_names])
        again = encode(NAMES[:n_names])
    assert found.shape == (n_names, encoder.width)
    np.testing.assert_allclose(found, encoder.encode(NAMES[:n_names]), atol=1e-6)
    np.testing.assert_array_equal(found, again)
    assert sum(done) == 2 * n_names


def test_a_worker_that_dies_is_an_error(monkeypatch, encoder):
    monkeypatch.setattr(workers_module, "_encode", die)
    with (
        pytest.raises(MetricELError, match=r"E015.*died"),
        name_workers(encoder, 2, len) as encode,
    ):
        encode(NAMES)


def die(names):
    os.kill(os.getpid(), signal.SIGKILL)


class OtherOps(NumpyOps):
    """Stands for a GPU's."""


@pytest.mark.parametrize("workers", [0, -1])
def test_too_few_workers(encoder, workers):
    with pytest.raises(MetricELError, match="E015"), name_workers(encoder, workers, len):
        pass


def test_no_workers_on_a_gpu(monkeypatch, encoder):
    monkeypatch.setattr(workers_module, "NumpyOps", OtherOps)
    with pytest.raises(MetricELError, match=r"E015.*GPU"), name_workers(encoder, 2, len):
        pass


def test_no_workers_where_nothing_is_inherited(monkeypatch, encoder):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(MetricELError, match=r"E015.*forked"), name_workers(encoder, 2, len):
        pass


SCRIPT = """
import sys
import spacy, torch
from spacy_metric_el.encoding import kb_rows

nlp = spacy.load(sys.argv[1])
linker = nlp.get_pipe("metric_entity_linker")
torch.set_num_threads(2)
alone = linker.encode_names([f"name {i}" for i in range(300)])
with kb_rows.name_workers(linker.encoder.names, 2, lambda n: None) as encode:
    together = encode([f"name {i}" for i in range(300)])
assert abs(alone - together).max() < 1e-5
print("same vectors")
"""


def test_a_transformer_that_has_computed_on_several_threads(bert, tmp_path):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp("transformer", bert=bert)
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb(NICKNAMES))
    nlp.to_disk(tmp_path / "nlp")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf8")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py", tmp_path / "nlp"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout.strip() == "same vectors", ended.stderr
