"""Finite differences: along a gradient, and along a random direction."""

import numpy as np


def directions(gradient, seed=0):
    """YIELDS (np.ndarray): Unit directions that the gradient must agree along.

    Along itself a wrong length shows, along others a wrong entry.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(gradient.shape)
    size = np.linalg.norm(gradient)
    assert size > 1e-6, "no gradient to check"
    yield gradient / size
    for _ in range(2):
        mixed = gradient / size + 3.0 * noise / np.linalg.norm(noise)
        yield mixed / np.linalg.norm(mixed)
        noise = rng.standard_normal(gradient.shape)


def check_direction(gradient, set_value, value, loss, *, eps=2e-3, tolerance=0.02):
    """Compare a gradient with central differences.

    gradient (np.ndarray): Claimed d loss / d value.
    set_value (Callable): Sets the value.
    value (np.ndarray): Where it stands.
    loss (Callable[[], float]): At the present value.
    """
    gradient = np.asarray(gradient, dtype="float64")
    scale = np.linalg.norm(gradient)
    for direction in directions(gradient):
        step = (eps * direction).astype("float32")
        set_value(value + step)
        above = loss()
        set_value(value - step)
        below = loss()
        set_value(value)
        numeric = (above - below) / (2 * eps)
        exact = float((gradient * direction).sum())
        assert abs(numeric - exact) < tolerance * scale, (numeric, exact, scale)


def check_parameter(model, name, loss, **kwargs):
    """Compare a parameter's gradient, present in the model, with central differences."""
    check_direction(
        model.ops.to_numpy(model.get_grad(name)),
        lambda value: model.set_param(name, value),
        model.get_param(name).copy(),
        loss,
        **kwargs,
    )
