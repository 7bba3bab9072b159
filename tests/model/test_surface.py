import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from spacy_metric_el.model.surface import fit_weights, surface_channel
from spacy_metric_el.text import hash_ngrams, normalise_name

from ..gradients import check_parameter

WEIGHT_ROWS, VECTOR_ROWS, WIDTH = 101, 37, 5
TEXTS = ["heart attack", "", "MI", "heart", "+", "heart heart"]


@pytest.fixture
def channel():
    model = surface_channel(WIDTH, weight_rows=WEIGHT_ROWS, vector_rows=VECTOR_ROWS, seed=1)
    model.initialize()
    rng = np.random.default_rng(0)
    model.set_param("w", rng.uniform(0.5, 1.5, WEIGHT_ROWS).astype("float32"))
    return model


def naive_rows(text):
    hashes, _ = hash_ngrams([normalise_name(text)])
    return [(int(h) % WEIGHT_ROWS, (int(h) >> 24) % VECTOR_ROWS) for h in hashes]


def test_forward_is_the_weighted_sum(channel):
    w, E = channel.get_param("w"), channel.get_param("E")
    expected = np.zeros((len(TEXTS), WIDTH))
    for i, text in enumerate(TEXTS):
        for weight_row, vector_row in naive_rows(text):
            expected[i] += w[weight_row] * E[vector_row]
    Y = channel.predict(TEXTS)
    assert Y.dtype == np.float32
    assert pytest.approx(expected, abs=1e-5) == Y
    assert not Y[1].any()
    assert Y[0].any()


def test_spelling_is_normalised(channel):
    Y = channel.predict(["Heart  ATTACK", "heart attack"])
    assert (Y[0] == Y[1]).all()


@pytest.mark.parametrize("name", ["w", "E"])
def test_gradients(channel, name):
    direction = np.random.default_rng(3).standard_normal((len(TEXTS), WIDTH))

    def loss():
        return float((channel.predict(TEXTS).astype("float64") * direction).sum())

    _, backprop = channel.begin_update(TEXTS)
    backprop(direction.astype("float32"))
    check_parameter(channel, name, loss)


def test_gradients_add_up(channel):
    for _ in range(2):
        Y, backprop = channel.begin_update(["abc"])
        backprop(np.ones_like(Y))
    twice = channel.get_grad("E").copy()
    channel.set_grad("E", np.zeros_like(twice))
    Y, backprop = channel.begin_update(["abc"])
    backprop(np.ones_like(Y))
    assert twice.any()
    assert twice == pytest.approx(2 * channel.get_grad("E"), abs=1e-6)


def test_fit_weights_is_the_root_of_the_inverse_document_frequency(channel):
    fit_weights(channel, TEXTS)
    df = Counter()
    for text in TEXTS:
        df.update({row for row, _ in naive_rows(text)})
    expected = [np.sqrt(1 + np.log((1 + len(TEXTS)) / (1 + df[row]))) for row in range(WEIGHT_ROWS)]
    assert channel.get_param("w") == pytest.approx(np.asarray(expected), abs=1e-6)
    # A repeated n-gram of one text counts once, and one of many texts weighs less.
    (rare, _), *_ = naive_rows("MI")
    common = [row for row, _ in naive_rows("heart") if df[row] == 3]
    assert common
    assert channel.get_param("w")[common[0]] < channel.get_param("w")[rare]


def test_fit_weights_over_many_chunks(channel, monkeypatch):
    texts = [f"name {i % 7}" for i in range(20_011)]
    fit_weights(channel, texts)
    df = Counter()
    for i, text in enumerate(texts[:7]):
        for row in {row for row, _ in naive_rows(text)}:
            df[row] += len(range(i, len(texts), 7))
    row, n = df.most_common()[-1]
    assert n < len(texts)
    expected = np.sqrt(1 + np.log((1 + len(texts)) / (1 + n)))
    assert channel.get_param("w")[row] == pytest.approx(expected, abs=1e-5)


def test_initialize_is_seeded_and_keeps_what_is_there():
    def fresh(seed):
        model = surface_channel(8, weight_rows=16, vector_rows=16, seed=seed)
        model.initialize()
        return model

    assert (fresh(1).get_param("E") == fresh(1).get_param("E")).all()
    assert (fresh(1).get_param("E") != fresh(2).get_param("E")).any()
    model = fresh(1)
    model.set_param("w", np.full(16, 3.0, dtype="float32"))
    model.initialize()
    assert (model.get_param("w") == 3.0).all()


def test_untrained_channel_tells_like_from_unlike():
    model = surface_channel(256)
    model.initialize()
    Y = model.predict(["myocardial infarction", "infarction, myocardial", "aspirin"])
    Y /= np.linalg.norm(Y, axis=1, keepdims=True)
    assert Y[0] @ Y[1] > 0.9
    assert abs(Y[0] @ Y[2]) < 0.3


def test_the_module_is_light():
    code = (
        "import sys; import spacy_metric_el.model.surface;"
        "sys.exit('scipy is imported' if 'scipy' in sys.modules else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
