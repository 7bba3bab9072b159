"""Projection, surface channel and gate, written out and against finite differences."""

import numpy as np
import pytest

from spacy_metric_el.model.head import fit_projection, metric_head
from spacy_metric_el.model.surface import surface_channel

from ..gradients import check_direction, check_parameter

N_INPUT = 7
SPANS = np.asarray([[0, 0, 2], [2, 0, 1], [0, 2, 3], [2, 0, 3]])
TEXTS = ["heart attack", "MI", "aspirin", "MI"]
PARAMETERS = [
    ("projection", "W"),
    ("projection", "b"),
    ("gate", "W"),
    ("gate", "b"),
    ("surface", "E"),
    ("surface", "w"),
]


def make_head(*, context_width=6, context_share=0.3, seed=0, name_context=True):
    surface = surface_channel(5, weight_rows=64, vector_rows=32, max_size=4, seed=seed)
    head = metric_head(
        surface,
        context_width=context_width,
        context_share=context_share,
        name_context=name_context,
        seed=seed,
    )
    head.set_dim("nI", N_INPUT)
    head.initialize()
    return head


@pytest.fixture
def head():
    head = make_head()
    rng = np.random.default_rng(5)
    gate, projection = head.get_ref("gate"), head.get_ref("projection")
    gate.set_param("W", rng.standard_normal(gate.get_param("W").shape).astype("float32"))
    projection.set_param("b", rng.standard_normal(6).astype("float32"))
    return head


@pytest.fixture
def tokvecs():
    rng = np.random.default_rng(4)
    return [rng.standard_normal((n, N_INPUT)).astype("float32") for n in (3, 0, 3)]


@pytest.fixture
def weights():
    return np.random.default_rng(6).standard_normal((len(SPANS), 11)).astype("float32")


def total(head, tokvecs, weights):
    return float((head.predict((tokvecs, SPANS, TEXTS)).astype("float64") * weights).sum())


def test_forward_written_out(head, tokvecs):
    Y = head.predict((tokvecs, SPANS, TEXTS))
    projection, gate = head.get_ref("projection"), head.get_ref("gate")
    for row, ((doc, start, end), text) in enumerate(zip(SPANS, TEXTS, strict=True)):
        pooled = tokvecs[doc][start:end].mean(axis=0)
        c = projection.get_param("W") @ pooled + projection.get_param("b")
        s = head.get_ref("surface").predict([text])[0]
        c, s = c / np.linalg.norm(c), s / np.linalg.norm(s)
        logit = gate.get_param("W")[0] @ np.concatenate((c, s)) + gate.get_param("b")[0]
        g = 1 / (1 + np.exp(-logit))
        expected = np.concatenate((np.sqrt(g) * c, np.sqrt(1 - g) * s))
        assert Y[row] == pytest.approx(expected, abs=1e-5)


def test_rows_have_unit_length(head, tokvecs):
    Y = head.predict((tokvecs, SPANS, TEXTS))
    assert Y.shape == (len(SPANS), 11)
    assert Y.dtype == np.float32
    assert np.linalg.norm(Y, axis=1) == pytest.approx(np.ones(len(SPANS)), abs=1e-5)


def test_without_context_of_names_each_channel_has_unit_length(tokvecs):
    weighted, apart = (
        make_head(name_context=flag).predict((tokvecs, SPANS, TEXTS)) for flag in (True, False)
    )
    for channel in (slice(6), slice(6, 11)):
        lengths = np.linalg.norm(weighted[:, channel], axis=1, keepdims=True)
        assert apart[:, channel] == pytest.approx(weighted[:, channel] / lengths, abs=1e-5)
    assert np.linalg.norm(apart, axis=1) == pytest.approx(np.full(len(SPANS), 2**0.5), abs=1e-5)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_untrained_gate_gives_the_context_its_share(tokvecs, share):
    Y = make_head(context_share=share).predict((tokvecs, SPANS, TEXTS))
    assert (Y[:, :6] ** 2).sum(axis=1) == pytest.approx(np.full(len(SPANS), share), abs=1e-5)


@pytest.mark.parametrize(("layer", "name"), PARAMETERS)
def test_gradients_of_parameters(head, tokvecs, weights, layer, name):
    _, backprop = head.begin_update((tokvecs, SPANS, TEXTS))
    backprop(weights)
    check_parameter(head.get_ref(layer), name, lambda: total(head, tokvecs, weights))


@pytest.mark.parametrize(("layer", "name"), PARAMETERS)
def test_gradients_of_parameters_without_context_of_names(tokvecs, weights, layer, name):
    head = make_head(name_context=False)
    _, backprop = head.begin_update((tokvecs, SPANS, TEXTS))
    backprop(weights)
    if layer == "gate":
        assert not head.get_ref(layer).has_grad(name)
    else:
        check_parameter(head.get_ref(layer), name, lambda: total(head, tokvecs, weights))


@pytest.mark.parametrize("document", [0, 2])
def test_gradients_of_token_vectors(head, tokvecs, weights, document):
    _, backprop = head.begin_update((tokvecs, SPANS, TEXTS))
    gradients = backprop(weights)
    assert [d.shape for d in gradients] == [v.shape for v in tokvecs]

    def put(value):
        tokvecs[document] = value

    check_direction(
        gradients[document], put, tokvecs[document], lambda: total(head, tokvecs, weights)
    )


@pytest.mark.parametrize("lengths", [(), (0,), (2, 0, 1)])
def test_no_spans(head, lengths):
    vecs = [np.ones((n, N_INPUT), dtype="float32") for n in lengths]
    Y, backprop = head.begin_update((vecs, np.zeros((0, 3), dtype=np.int64), []))
    assert Y.shape == (0, 11)
    gradients = backprop(np.zeros((0, 11), dtype="float32"))
    assert [d.shape for d in gradients] == [(n, N_INPUT) for n in lengths]
    assert not any(d.any() for d in gradients)


def test_same_seed_same_head(tokvecs):
    X = (tokvecs, SPANS, TEXTS)
    assert (make_head(seed=3).predict(X) == make_head(seed=3).predict(X)).all()
    assert (make_head(seed=3).predict(X) != make_head(seed=4).predict(X)).any()


def test_initialize_keeps_what_is_there(head, tokvecs):
    before = head.predict((tokvecs, SPANS, TEXTS))
    head.initialize()
    assert (head.predict((tokvecs, SPANS, TEXTS)) == before).all()


def crowded(n=500):
    """States in a cone: a large mean, and directions of very different spread."""
    rng = np.random.default_rng(7)
    spread = np.asarray([5, 3, 2, 1, 0.5, 0.3, 0.2])
    return (10 + rng.standard_normal((n, N_INPUT)) * spread).astype("float32")


def test_fit_projection_whitens():
    head = make_head()
    X = crowded()
    fit_projection(head, X)
    projected = head.get_ref("projection").predict(X).astype("float64")
    assert projected.mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-2)
    assert np.cov(projected, rowvar=False) == pytest.approx(np.eye(6), abs=2e-2)
    # The leading direction comes first.
    assert abs(head.get_ref("projection").get_param("W")[0]).argmax() == 0


def test_fit_projection_drops_directions_without_variance():
    head = make_head()
    X = crowded()
    X[:, 3:] = 1.0
    fit_projection(head, X)
    W = head.get_ref("projection").get_param("W")
    assert W.shape == (6, N_INPUT)
    assert np.isfinite(W).all()
    assert W[:3].any(axis=1).all()
    assert not W[3:].any()


def test_fit_projection_wider_than_its_input():
    head = make_head(context_width=N_INPUT + 4)
    fit_projection(head, crowded())
    W = head.get_ref("projection").get_param("W")
    assert W.shape == (N_INPUT + 4, N_INPUT)
    assert W[:N_INPUT].any(axis=1).all()
    assert not W[N_INPUT:].any()


def test_fit_projection_to_two_names_that_are_the_same():
    head = make_head()
    fit_projection(head, np.ones((2, N_INPUT), dtype="float32"))
    assert np.isfinite(head.get_ref("projection").get_param("W")).all()
    assert np.isfinite(head.get_ref("projection").get_param("b")).all()
