"""Mixed precision: trained right, or refused."""

import random

import numpy as np
import pytest
import spacy
from thinc.shims.pytorch_grad_scaler import PyTorchGradScaler

from spacy_metric_el.encoding import upstream as upstream_module
from spacy_metric_el.errors import MetricELError

from ..util import LINKER, make_example, make_kb, make_nlp, wake_ner


def linked(nlp):
    return [
        make_example(nlp, "He had a heart attack and fever", ("heart attack", "C01")),
        make_example(nlp, "Give aspirin for the cold", ("aspirin", "C05"), ("cold", "C03")),
    ]


def build(bert, *, mixed_precision, name_context, ner=False):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp("transformer", bert=bert, ner=ner, model={"name_context": name_context})
    nlp.initialize(lambda: linked(nlp))
    nlp.get_pipe(LINKER).set_kb(make_kb())
    shim = shim_of(nlp)
    shim._mixed_precision = shim._grad_scaler._enabled = mixed_precision
    return nlp


def shim_of(nlp):
    """RETURNS (Any): Thinc's view of the transformer in PyTorch."""
    (shim,) = [s for node in nlp.get_pipe("transformer").model.walk() for s in node.shims]
    return shim


def upstream_gradient(bert, **settings):
    """RETURNS (np.ndarray): What a recognizer and a linker send the weights of a transformer."""
    nlp = build(bert, ner=True, **settings)
    wake_ner(nlp)
    random.seed(0)
    np.random.seed(0)
    nlp.update(linked(nlp), sgd=False)
    grads = [p.grad for p in shim_of(nlp)._model.parameters() if p.grad is not None]
    return np.concatenate([grad.numpy().ravel() for grad in grads])


@pytest.fixture
def scaling(monkeypatch):
    """Gradients are scaled on a CPU as well; Thinc does so on a GPU alone."""
    monkeypatch.setattr(
        PyTorchGradScaler, "_scale_tensor", lambda self, x, scales, inplace: x.mul_(self._scale)
    )


pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")


def test_gradients_are_right_where_names_have_no_context(bert, scaling):
    plain, mixed = (
        upstream_gradient(bert, mixed_precision=mixed_precision, name_context=False)
        for mixed_precision in (False, True)
    )
    assert np.linalg.norm(plain) > 1e-3
    assert mixed == pytest.approx(plain, rel=1e-4, abs=1e-6)


def test_what_is_refused_would_be_wrong(bert, scaling, monkeypatch):
    """Names and mentions go through the transformer one after the other."""
    with pytest.raises(MetricELError, match=r"^\[E006\] "):
        upstream_gradient(bert, mixed_precision=True, name_context=True)
    monkeypatch.setattr(upstream_module, "uses_mixed_precision", lambda models: False)
    plain, mixed = (
        upstream_gradient(bert, mixed_precision=mixed_precision, name_context=True)
        for mixed_precision in (False, True)
    )
    assert mixed != pytest.approx(plain, rel=1e-4, abs=1e-6)


def test_a_frozen_transformer_gets_no_gradient(bert):
    nlp = build(bert, mixed_precision=True, name_context=True)
    losses = {}
    nlp.update(linked(nlp), sgd=nlp.create_optimizer(), losses=losses, exclude=["transformer"])
    assert losses[LINKER] > 0
