"""Names through a curated transformer: what is its own, beside what holds for any upstream."""

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding.upstream import find_listener, is_frozen
from spacy_metric_el.model.fingerprint import fingerprint

from ..gradients import check_direction
from ..util import (
    CURATED,
    CURATED_LISTENER,
    LINKER,
    curated_config,
    curated_loaders,
    encoder_config,
    make_example,
    make_kb,
)

pytestmark = CURATED.marks
NAMES = ["heart attack", "MI", "common cold"]
WEIGHTED_LISTENER = {
    **CURATED_LISTENER,
    "@architectures": "spacy-curated-transformers.ScalarWeightingListener.v1",
    "weighting": {
        "@architectures": "spacy-curated-transformers.ScalarWeight.v1",
        "num_layers": 2,
        "dropout_prob": 0.0,
    },
}
"""Of both layers of the tiny BERT, and its embeddings."""


@pytest.fixture
def build(bert):
    def make(listener=CURATED_LISTENER, **settings):
        spacy.util.fix_random_seed(0)
        nlp = spacy.blank("xx")
        config = curated_config(bert, **settings)
        nlp.add_pipe("curated_transformer", name="transformer", config=config)
        nlp.config["initialize"]["components"]["transformer"] = curated_loaders(bert)
        nlp.add_pipe(LINKER, config={"model": encoder_config(listener, name_context=True)})
        nlp.initialize(lambda: examples(nlp))
        nlp.get_pipe(LINKER).set_kb(make_kb())
        return nlp

    return make


def examples(nlp):
    return [
        make_example(nlp, "He had a heart attack", ("heart attack", "C01")),
        make_example(nlp, "Give aspirin for the cold", ("aspirin", "C05"), ("cold", "C03")),
    ]


def layer_weights(nlp):
    """RETURNS (Any): What PyTorch holds of the weights of layers."""
    tok2vec = nlp.get_pipe(LINKER).model.get_ref("tok2vec")
    (shim,) = [shim for node in tok2vec.walk() for shim in node.shims]
    return shim._model


def torch_gradients(module):
    return [p.grad.numpy().copy() for p in module.parameters() if p.grad is not None]


def test_the_weights_of_layers_learn_from_names(build):
    import torch

    nlp = build(WEIGHTED_LISTENER, all_layer_outputs=True)
    encoder = nlp.get_pipe(LINKER).encoder.names
    nlp.get_pipe("transformer").update(examples(nlp))
    vectors, backprop = encoder.begin_update(NAMES)
    assert vectors == pytest.approx(encoder.encode(NAMES), abs=1e-5)
    direction = np.random.default_rng(1).standard_normal(vectors.shape).astype("float32")
    module = layer_weights(nlp)
    module.zero_grad()
    backprop(direction)
    parameters = list(module.parameters())
    shapes = [tuple(p.shape) for p in parameters]

    def flat(arrays):
        return np.concatenate([array.ravel() for array in arrays])

    def put(vector):
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        for p, part in zip(parameters, np.split(vector, ends[:-1]), strict=True):
            with torch.no_grad():
                p.copy_(torch.from_numpy(part.astype("float32").reshape(tuple(p.shape))))

    check_direction(
        flat(torch_gradients(module)),
        put,
        flat([p.detach().numpy().copy() for p in parameters]),
        lambda: float((encoder.encode(NAMES).astype("float64") * direction).sum()),
    )


def test_names_leave_the_batch_of_the_mentions_in_the_listener(build):
    nlp = build()
    batch = examples(nlp)
    nlp.get_pipe("transformer").update(batch)
    linker = nlp.get_pipe(LINKER)
    state = find_listener(linker.model.get_ref("tok2vec")).attrs["_state"]
    kept = (state.batch_id, state.outputs, state.backprop)
    linker.encoder.names.begin_update(NAMES)
    assert (state.batch_id, state.outputs, state.backprop) == kept
    linker.update(batch)
    assert is_frozen(find_listener(linker.model.get_ref("tok2vec")))


def test_a_transformer_frozen_by_its_own_setting(build):
    nlp = build(frozen=True)
    transformer, linker = nlp.get_pipe("transformer").model, nlp.get_pipe(LINKER)
    before = fingerprint([transformer]), linker.fingerprint()
    nlp.update(examples(nlp), sgd=nlp.create_optimizer())
    assert fingerprint([transformer]) == before[0]
    assert linker.fingerprint() != before[1]


def test_frozen_by_the_training_and_by_its_own_setting_teach_the_same(build):
    weights = []
    for own in (False, True):
        nlp = build(frozen=own)
        frozen = {} if own else {"exclude": ["transformer"], "annotates": ["transformer"]}
        nlp.update(examples(nlp), sgd=nlp.create_optimizer(), **frozen)
        head = nlp.get_pipe(LINKER).model.get_ref("head")
        weights.append(head.get_ref("projection").get_param("W"))
    np.testing.assert_allclose(*weights, atol=1e-5)


def test_the_weights_of_layers_learn_behind_a_transformer_that_does_not(build):
    nlp = build(WEIGHTED_LISTENER, all_layer_outputs=True)
    transformer = nlp.get_pipe("transformer")
    transformer.frozen = True
    frozen = fingerprint([transformer.model])
    before = [p.detach().numpy().copy() for p in layer_weights(nlp).parameters()]
    optimizer = nlp.create_optimizer()
    for _ in range(3):
        nlp.update(examples(nlp), sgd=optimizer)
    after = [p.detach().numpy() for p in layer_weights(nlp).parameters()]
    assert any(np.abs(x - y).max() > 1e-4 for x, y in zip(before, after, strict=True))
    assert fingerprint([transformer.model]) == frozen
