import numpy as np
import pytest
from thinc.api import NumpyOps

from spacy_metric_el.model.pooling import pool_spans

from ..gradients import check_direction

OPS = NumpyOps()
WIDTH = 4
SPANS = np.asarray([[0, 0, 2], [2, 1, 2], [0, 1, 3], [2, 0, 2], [0, 1, 3]])


def tokvecs(*lengths):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, WIDTH)).astype("float32") for n in lengths]


def test_means():
    vecs = tokvecs(3, 0, 2)
    pooled, _ = pool_spans(OPS, vecs, SPANS, WIDTH)
    expected = [vecs[doc][start:end].mean(axis=0) for doc, start, end in SPANS]
    assert pooled == pytest.approx(np.stack(expected), abs=1e-6)


def test_gradient_of_each_document():
    vecs = tokvecs(3, 0, 2)
    weights = np.random.default_rng(1).standard_normal((len(SPANS), WIDTH)).astype("float32")
    _, backprop = pool_spans(OPS, vecs, SPANS, WIDTH)
    gradients = backprop(weights)
    assert [d.shape for d in gradients] == [v.shape for v in vecs]
    for i in (0, 2):

        def loss():
            return float((pool_spans(OPS, vecs, SPANS, WIDTH)[0] * weights).sum())

        def put(value, i=i):
            vecs[i] = value

        check_direction(gradients[i], put, vecs[i].copy(), loss)


def test_tokens_outside_spans_get_zeros():
    _, backprop = pool_spans(OPS, tokvecs(4), np.asarray([[0, 1, 3]]), WIDTH)
    (gradient,) = backprop(np.ones((1, WIDTH), dtype="float32"))
    assert (gradient[[0, 3]] == 0).all()
    assert (gradient[1:3] == 0.5).all()


@pytest.mark.parametrize("lengths", [(), (0,), (3, 0), (0, 0)])
def test_no_spans(lengths):
    vecs = tokvecs(*lengths)
    pooled, backprop = pool_spans(OPS, vecs, np.zeros((0, 3), dtype=np.int64), WIDTH)
    assert pooled.shape == (0, WIDTH)
    gradients = backprop(np.zeros((0, WIDTH), dtype="float32"))
    assert [d.shape for d in gradients] == [(n, WIDTH) for n in lengths]
    assert not any(d.any() for d in gradients)


def test_empty_documents_before_and_after():
    vecs = tokvecs(0, 2, 0)
    pooled, backprop = pool_spans(OPS, vecs, np.asarray([[1, 0, 2]]), WIDTH)
    assert pooled[0] == pytest.approx(vecs[1].mean(axis=0), abs=1e-6)
    gradients = backprop(np.ones((1, WIDTH), dtype="float32"))
    assert [len(d) for d in gradients] == [0, 2, 0]
    assert (gradients[1] == 0.5).all()
