"""Names through the live upstream model: links, gradients, and who is found."""

import gc
import random

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding.upstream import (
    Upstream,
    find_listener,
    is_frozen,
    missing_states,
    uses_mixed_precision,
)
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.model.fingerprint import fingerprint
from spacy_metric_el.training.losses import LossResult

from ..gradients import check_direction
from ..util import CURATED, LINKER, VOCABULARY, make_example, make_kb, make_nlp, wake_ner

KINDS = ["own", "listener", "transformer", CURATED]
LISTENING = ["listener", "transformer", CURATED]
UPSTREAM = {"own": LINKER, "listener": "tok2vec"}
UPSTREAM |= dict.fromkeys(("transformer", "curated"), "transformer")
NAMES = ["heart attack", "MI", "common cold of the nose"]


class LinearLoss:
    """A loss without kinks: the sum of all vectors' entries, weighted at random."""

    def __init__(self, *, mentions=1.0, names=1.0):
        self.scales = (mentions, names)

    def __call__(self, batch):
        rng = np.random.default_rng(11)
        weights = [
            scale * rng.standard_normal(vectors.shape).astype("float32")
            for scale, vectors in zip(self.scales, (batch.mentions, batch.names), strict=True)
        ]
        loss = sum(
            float((w.astype("float64") * vectors).sum())
            for w, vectors in zip(weights, (batch.mentions, batch.names), strict=True)
        )
        return LossResult(loss, *weights)

    def to_dict(self):
        return {}

    def from_dict(self, state):
        pass


@pytest.fixture
def build(request):
    """Names pass through the upstream where they have a context channel."""

    def make(kind, **settings):
        settings.setdefault("model", {"name_context": True})
        bert = request.getfixturevalue("bert") if kind in ("transformer", "curated") else None
        spacy.util.fix_random_seed(0)
        nlp = make_nlp(kind, bert=bert, **settings)
        examples = some_examples(nlp)
        nlp.initialize(lambda: examples)
        linker = nlp.get_pipe(LINKER)
        linker.set_kb(make_kb())
        return nlp, linker

    return make


def some_examples(nlp):
    return [
        make_example(nlp, "He had a heart attack and fever .", ("heart attack", "C01")),
        make_example(nlp, "Nothing at all"),
        make_example(nlp, "Give aspirin for the cold", ("aspirin", "C05"), ("cold", "C03")),
    ]


def unlink(examples):
    """Give all gold mentions an id that no vocabulary has."""
    for eg in examples:
        for ent in eg.reference.ents:
            for token in ent:
                token.ent_kb_id_ = "unknown"


def draw_all(linker):
    """Make a step draw all names, always, so that the loss is a smooth function of the weights."""
    names = linker._training_step().sampler
    everything = np.arange(names.kb.records.n_names)
    names.draw = lambda *args, **kwargs: everything


class Weights:
    """The parameters of a model as one list of arrays, of Thinc's and of PyTorch's layers."""

    def __init__(self, model):
        self.own = [
            (node, name)
            for node in model.walk()
            for name in node.param_names
            if node.has_param(name)
        ]
        self.torch = [
            p
            for node in model.walk()
            for shim in node.shims
            if shim._model is not None
            for p in shim._model.parameters()
        ]

    def gradients(self):
        own = [
            node.get_grad(name).copy()
            if node.has_grad(name)
            else np.zeros_like(node.get_param(name))
            for node, name in self.own
        ]
        return own + [
            np.zeros(tuple(p.shape), "float32") if p.grad is None else p.grad.numpy().copy()
            for p in self.torch
        ]

    def clear(self):
        for node, name in self.own:
            node.set_grad(name, np.zeros_like(node.get_param(name)))
        for p in self.torch:
            p.grad = None

    def values(self):
        own = [node.get_param(name).copy() for node, name in self.own]
        return own + [p.detach().numpy().copy() for p in self.torch]

    def put(self, values):
        import torch

        for (node, name), value in zip(self.own, values, strict=False):
            node.set_param(name, value)
        for p, value in zip(self.torch, values[len(self.own) :], strict=True):
            with torch.no_grad():
                p.copy_(torch.from_numpy(value))


def check_weights(weights, gradients, loss, **kwargs):
    """Compare the gradient of all weights at once with central differences."""
    shapes = [g.shape for g in gradients]
    flat = np.concatenate([g.ravel() for g in gradients])
    start = np.concatenate([v.ravel() for v in weights.values()])

    def put(vector):
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(vector.astype("float32"), ends[:-1])
        weights.put([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    check_direction(flat, put, start, loss, **kwargs)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_names(build, kind):
    nlp, linker = build(kind)
    examples = some_examples(nlp)
    if kind != "own":
        nlp.get_pipe(UPSTREAM[kind]).update(examples)
    weights = Weights(nlp.get_pipe(UPSTREAM[kind]).model)
    weights.clear()
    vectors, backprop = linker.encoder.names.begin_update(NAMES)
    # Without dropout, training sees what prediction sees, in the order of the names.
    assert vectors == pytest.approx(linker.encoder.names.encode(NAMES), abs=1e-5)
    direction = np.random.default_rng(1).standard_normal(vectors.shape).astype("float32")
    backprop(direction)
    check_weights(
        weights,
        weights.gradients(),
        lambda: float((linker.encoder.names.encode(NAMES).astype("float64") * direction).sum()),
    )


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {}) for kind in KINDS[:3]),
        ("transformer", {"spans": (4, 3)}),
        pytest.param("curated", {}, marks=CURATED.marks),
        # Where its windows overlap its own gradient is half of what it should be.
        pytest.param("curated", {"spans": (4, 4)}, marks=CURATED.marks),
    ],
)
@pytest.mark.parametrize("loss", [LinearLoss(mentions=0.0), LinearLoss()], ids=["names", "both"])
def test_gradients_of_a_whole_step(build, kind, settings, loss):
    """Also where the border of what a transformer reads at once lies in a mention."""
    nlp, linker = build(kind, **settings)
    linker.loss = loss
    draw_all(linker)
    examples = some_examples(nlp)

    def step():
        losses = {}
        if kind != "own":
            nlp.get_pipe(UPSTREAM[kind]).update(examples)
        linker.update(examples, losses=losses)
        return losses[LINKER]

    weights = Weights(nlp.get_pipe(UPSTREAM[kind]).model)
    weights.clear()
    step()
    check_weights(weights, weights.gradients(), step, eps=5e-4)


@pytest.mark.parametrize("kind", LISTENING)
def test_gradients_with_a_recognizer_listening_as_well(build, kind):
    """What the linker adds to the recognizer's gradient is what it sends when it is alone."""
    nlp, linker = build(kind, ner=True)
    wake_ner(nlp)
    linker.loss = LinearLoss()
    draw_all(linker)
    upstream = nlp.get_pipe(UPSTREAM[kind])
    weights = Weights(upstream.model)

    def gradient(*, ner, link):
        weights.clear()
        random.seed(0)
        np.random.seed(0)
        examples = some_examples(nlp)
        if not link:
            unlink(examples)
        upstream.update(examples)
        if ner:
            nlp.get_pipe("ner").update(examples)
        linker.update(examples)
        return np.concatenate([g.ravel() for g in weights.gradients()])

    ner, link = gradient(ner=True, link=False), gradient(ner=False, link=True)
    assert np.linalg.norm(ner) > 1e-3
    assert np.linalg.norm(link) > 1e-3
    assert not gradient(ner=False, link=False).any()
    both = gradient(ner=True, link=True)
    assert np.linalg.norm(both - ner - link) < 1e-4 * np.linalg.norm(link)


@pytest.mark.parametrize("kind", LISTENING)
def test_frozen_upstream_trains_only_the_head(build, kind):
    nlp, linker = build(kind)
    name = UPSTREAM[kind]
    upstream, head = nlp.get_pipe(name).model, linker.model.get_ref("head")
    before = upstream.to_bytes(), head.get_ref("projection").get_param("W").copy()
    losses = {}
    optimizer = nlp.create_optimizer()
    nlp.update(some_examples(nlp), sgd=optimizer, losses=losses, exclude=[name], annotates=[name])
    assert losses[LINKER] > 0
    assert is_frozen(find_listener(linker.model.get_ref("tok2vec")))
    assert upstream.to_bytes() == before[0]
    assert not any(g.any() for g in Weights(upstream).gradients())
    assert (head.get_ref("projection").get_param("W") != before[1]).any()


def test_a_transformer_that_is_frozen_from_the_start_reads_its_weights(bert):
    """spaCy initializes no frozen component; what it would be without its weights is nothing."""
    nlp = make_nlp("transformer", bert=bert)
    with nlp.select_pipes(disable="transformer"):
        nlp.initialize(lambda: some_examples(nlp))
    trained = make_nlp("transformer", bert=bert)
    trained.initialize()
    models = [n.get_pipe("transformer").model for n in (nlp, trained)]
    assert fingerprint(models[:1]) == fingerprint(models[1:])
    # Weights that are there stay.
    weights = Weights(models[0])
    weights.put([value + 0.1 for value in weights.values()])
    changed = fingerprint(models[:1])
    with nlp.select_pipes(disable="transformer"):
        nlp.initialize(lambda: some_examples(nlp))
    assert fingerprint(models[:1]) == changed


def test_a_tok2vec_that_is_frozen_from_the_start_is_refused():
    nlp = make_nlp("listener")
    with nlp.select_pipes(disable="tok2vec"), pytest.raises(MetricELError) as caught:
        nlp.initialize(lambda: some_examples(nlp))
    assert caught.value.code == "E004"


@pytest.mark.parametrize("kind", LISTENING)
def test_replaced_listeners_give_the_same_links_and_fingerprint(build, kind):
    nlp, linker = build(kind, entities=["heart attack", "cold"])
    text = "He had a heart attack and a cold"
    doc = nlp(text)
    candidates = [ent._.kb_ents for ent in doc.ents]
    fingerprint = linker.fingerprint()
    nlp.replace_listeners(UPSTREAM[kind], LINKER, ["model.tok2vec"])
    assert find_listener(linker.model.get_ref("tok2vec")) is None
    assert linker.fingerprint() == fingerprint
    nlp.remove_pipe(UPSTREAM[kind])
    after = nlp(text)
    assert [ent.kb_id_ for ent in after.ents] == [ent.kb_id_ for ent in doc.ents]
    assert len(candidates) == 2
    for ent, expected in zip(after.ents, candidates, strict=True):
        assert [cid for cid, _ in ent._.kb_ents] == [cid for cid, _ in expected]
        scores = [score for _, score in expected]
        assert [score for _, score in ent._.kb_ents] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("kind", LISTENING)
def test_replaced_listeners_train(build, kind):
    nlp, linker = build(kind)
    nlp.replace_listeners(UPSTREAM[kind], LINKER, ["model.tok2vec"])
    weights = Weights(linker.model.get_ref("tok2vec"))
    before = weights.values()
    losses = {}
    nlp.update(some_examples(nlp), sgd=nlp.create_optimizer(), losses=losses)
    assert losses[LINKER] > 0
    assert any((a != b).any() for a, b in zip(before, weights.values(), strict=True))


@pytest.mark.parametrize("kind", LISTENING)
@pytest.mark.parametrize("deleted", [False, True])
def test_sourced_components_link_and_train(build, kind, deleted):
    nlp, linker = build(kind)
    expected = linker.encode_names(["heart attack"])
    other = spacy.blank("xx", vocab=nlp.vocab)
    other.add_pipe(UPSTREAM[kind], source=nlp)
    other.add_pipe("entity_ruler").add_patterns([{"label": "E", "pattern": "cold"}])
    linker = other.add_pipe(LINKER, source=nlp)
    if deleted:
        del nlp
        gc.collect()
    assert other("a cold").ents[0].kb_id_ in ("C03", "C04")
    assert linker.encode_names(["heart attack"]) == pytest.approx(expected, abs=1e-6)
    losses = {}
    with other.select_pipes(disable="entity_ruler"):
        other.update(some_examples(other), sgd=other.create_optimizer(), losses=losses)
    assert losses[LINKER] > 0
    assert (linker.encode_names(["heart attack"]) != expected).any()
    if deleted:
        assert linker._upstream.pipeline() is other


def test_sourced_linker_with_replaced_listener_needs_no_upstream(build):
    nlp, _ = build("listener")
    nlp.replace_listeners("tok2vec", LINKER, ["model.tok2vec"])
    other = spacy.blank("xx", vocab=nlp.vocab)
    other.add_pipe("entity_ruler").add_patterns([{"label": "E", "pattern": "cold"}])
    other.add_pipe(LINKER, source=nlp)
    del nlp
    gc.collect()
    assert other("a cold").ents[0].kb_id_ in ("C03", "C04")


def test_linker_in_no_pipeline(build):
    for kind in ("own", "listener"):
        nlp, linker = build(kind)
        nlp.remove_pipe(LINKER)
        with pytest.raises(MetricELError) as caught:
            linker.encode_names(["cold"])
        assert caught.value.code == "E002"


def test_pipeline_without_the_upstream(build):
    nlp, linker = build("listener")
    nlp.remove_pipe("tok2vec")
    with pytest.raises(MetricELError) as caught:
        linker.fingerprint()
    assert caught.value.code == "E002"


def test_upstream_is_no_layer_of_the_linker(build):
    nlp, linker = build("listener")
    upstream = set(map(id, nlp.get_pipe("tok2vec").model.walk()))
    linker.encode_names(["cold"])
    assert not upstream & set(map(id, linker.model.walk()))


def test_pipeline_is_held_weakly(build):
    nlp, linker = build("own")
    assert linker._upstream.pipeline() is nlp
    del nlp
    gc.collect()
    assert linker._upstream.pipeline() is None


def test_upstream_of_another_name_is_passed_over(build):
    nlp, linker = build("listener")
    nlp.add_pipe("tok2vec", name="second", first=True)
    listener = find_listener(linker.model.get_ref("tok2vec"))
    assert linker._upstream.component(listener) is nlp.get_pipe("tok2vec")


@pytest.mark.parametrize(("kind", "width"), [("own", 16), ("listener", 16), ("transformer", 32)])
def test_width(build, kind, width):
    _, linker = build(kind)
    assert linker.model.get_ref("head").get_dim("nI") == width


@pytest.mark.parametrize("kind", LISTENING)
def test_missing_states(build, kind):
    nlp, linker = build(kind)
    listener = find_listener(linker.model.get_ref("tok2vec"))
    seen = nlp.get_pipe(UPSTREAM[kind])(nlp.make_doc("a cold"))
    assert not missing_states(listener, [seen, nlp.make_doc("")])
    assert missing_states(listener, [seen, nlp.make_doc("a cold")])


def test_mixed_precision_is_seen(build):
    nlp, _ = build("transformer")
    model = nlp.get_pipe("transformer").model
    assert not uses_mixed_precision([model])
    (shim,) = [shim for node in model.walk() for shim in node.shims]
    shim._mixed_precision = True
    assert uses_mixed_precision([model])


def test_component_name():
    class Component:
        name = "some_linker"

    component = Component()
    upstream = Upstream(component)
    assert upstream.component_name == "some_linker"
    del component
    assert upstream.component_name == ""


def test_the_vocabulary_has_no_throwaway_words(build):
    nlp, linker = build("own")
    linker.encode_names(["unheardofname"])
    assert "unheardofname" not in nlp.vocab.strings
    assert VOCABULARY[0].canonical_name not in nlp.vocab.strings
