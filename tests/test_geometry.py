"""Unit length and cosines."""

import numpy as np
import pytest

from spacy_metric_el.geometry import (
    row_cosines,
    row_lengths,
    row_products,
    scale_to_unit,
    unit_rows,
)

from .gradients import check_direction


def test_row_lengths_of_zeros_are_one():
    lengths = row_lengths(np.asarray([[3, 4], [0, 0]], dtype="float32"))
    assert lengths.tolist() == [[5], [1]]
    assert lengths.dtype == np.float32


def test_unit_rows_are_those_that_have_a_gradient():
    X = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    X[2] = 0
    assert (unit_rows(X) == scale_to_unit(X)[0]).all()


def test_products_and_cosines_against_a_loop():
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((2, 6, 4)).astype("float32")
    B[3] = 0
    products = [float(a @ b) for a, b in zip(A, B, strict=True)]
    assert row_products(A, B) == pytest.approx(products, abs=1e-6)
    cosines = [
        0.0 if not b.any() else float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(A, B, strict=True)
    ]
    assert row_cosines(A, B) == pytest.approx(cosines, abs=1e-6)


def test_scale_to_unit():
    X = np.asarray([[3.0, 4.0], [0.0, 0.0], [-0.1, 0.0]], dtype="float32")
    Y, backprop = scale_to_unit(X)
    assert pytest.approx(np.asarray([[0.6, 0.8], [0, 0], [-1, 0]]), abs=1e-6) == Y
    assert Y.dtype == np.float32
    assert np.isfinite(backprop(np.ones_like(X))).all()


def test_gradient_of_scale_to_unit():
    X = np.random.default_rng(2).standard_normal((4, 6)).astype("float32")
    weights = np.random.default_rng(3).standard_normal((4, 6)).astype("float32")
    box = [X]

    def put(value):
        box[0] = value

    _, backprop = scale_to_unit(X)
    gradient = backprop(weights)
    check_direction(gradient, put, X, lambda: float((scale_to_unit(box[0])[0] * weights).sum()))
    # Length does not matter, so the gradient is at right angles to the row.
    assert (gradient * X).sum(axis=1) == pytest.approx(np.zeros(4), abs=1e-5)


def test_scale_to_unit_of_nothing():
    Y, backprop = scale_to_unit(np.zeros((0, 3), dtype="float32"))
    assert Y.shape == backprop(Y).shape == (0, 3)
