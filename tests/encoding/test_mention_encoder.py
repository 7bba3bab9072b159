"""Behind an upstream that is frozen and annotates nothing, documents go through it once."""

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding import mention_encoder
from spacy_metric_el.errors import MetricELError

from ..util import CURATED, LINKER, make_example, make_kb, make_nlp

UPSTREAM = {"listener": "tok2vec", "transformer": "transformer", "curated": "transformer"}
KINDS = ["listener", "transformer", CURATED]


@pytest.fixture
def build(bert):
    def make(kind):
        spacy.util.fix_random_seed(0)
        nlp = make_nlp(kind, bert=bert)
        nlp.initialize(lambda: examples(nlp))
        nlp.get_pipe(LINKER).set_kb(make_kb())
        return nlp

    return make


def examples(nlp):
    return [
        make_example(nlp, "He had a heart attack and fever", ("heart attack", "C01")),
        make_example(nlp, "Nothing at all"),
        make_example(nlp, "Give aspirin for the cold", ("aspirin", "C05"), ("cold", "C03")),
    ]


def step(nlp, batch, name, optimizer=None, **kwargs):
    optimizer = optimizer or nlp.create_optimizer()
    losses = {}
    nlp.update(batch, sgd=optimizer, losses=losses, exclude=[name], **kwargs)
    return losses[LINKER]


@pytest.fixture
def read(monkeypatch):
    """RETURNS (Callable): Lists the texts that a component is asked to encode, as they come."""

    def watch(pipe):
        texts, predict = [], type(pipe).predict

        def note(self, docs):
            texts.extend(doc.text for doc in docs)
            return predict(self, docs)

        monkeypatch.setattr(type(pipe), "predict", note)
        return texts

    return watch


@pytest.mark.parametrize("kind", KINDS)
def test_it_teaches_what_an_annotating_upstream_teaches(build, kind):
    name = UPSTREAM[kind]
    weights, losses = [], []
    for annotates in ([name], []):
        nlp = build(kind)
        optimizer = nlp.create_optimizer()
        losses.append(
            [step(nlp, examples(nlp), name, optimizer, annotates=annotates) for _ in range(3)]
        )
        head = nlp.get_pipe(LINKER).model.get_ref("head")
        weights.append(head.get_ref("projection").get_param("W"))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    np.testing.assert_allclose(*weights, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_each_document_is_read_once(build, kind, read):
    nlp = build(kind)
    nlp.get_pipe(LINKER).model.get_ref("head").attrs["name_context"] = False
    nlp.get_pipe(LINKER).refresh_vectors()
    texts = read(nlp.get_pipe(UPSTREAM[kind]))
    first, nothing, last = examples(nlp)
    step(nlp, [first, nothing], UPSTREAM[kind])
    step(nlp, [last, first], UPSTREAM[kind])
    step(nlp, [nothing], UPSTREAM[kind])
    # A document without mentions need not be read.
    assert texts == [first.reference.text, last.reference.text]


def test_other_mentions_of_a_known_document_are_read(build, read):
    nlp = build("listener")
    nlp.get_pipe(LINKER).model.get_ref("head").attrs["name_context"] = False
    nlp.get_pipe(LINKER).refresh_vectors()
    texts = read(nlp.get_pipe("tok2vec"))
    text = "He had a heart attack and fever"
    for mention in (("heart attack", "C01"), ("fever", "C08"), ("fever", "C07")):
        step(nlp, [make_example(nlp, text, mention)], "tok2vec")
    assert texts == [text, text]


def test_other_weights_read_again(build, read):
    nlp = build("listener")
    nlp.get_pipe(LINKER).model.get_ref("head").attrs["name_context"] = False
    nlp.get_pipe(LINKER).refresh_vectors()
    tok2vec = nlp.get_pipe("tok2vec")
    texts = read(tok2vec)
    batch = examples(nlp)[:1]
    step(nlp, batch, "tok2vec")
    for node in tok2vec.model.walk():
        for name in node.param_names:
            node.set_param(name, node.get_param(name) + 0.1)
    step(nlp, batch, "tok2vec")
    assert len(texts) == 2


def test_an_upstream_that_is_disabled_is_no_frozen_one(build):
    nlp = build("listener")
    with nlp.select_pipes(disable="tok2vec"), pytest.raises(MetricELError) as caught:
        nlp.update(examples(nlp), sgd=nlp.create_optimizer())
    assert caught.value.code == "E003"


def test_not_all_states_are_kept_forever(build, read, monkeypatch):
    nlp = build("listener")
    nlp.get_pipe(LINKER).model.get_ref("head").attrs["name_context"] = False
    nlp.get_pipe(LINKER).refresh_vectors()
    monkeypatch.setattr(mention_encoder, "KEPT_MENTIONS", 2)
    texts = read(nlp.get_pipe("tok2vec"))
    first, _, last = examples(nlp)
    for batch in ([first], [last], [first], [last, first]):
        step(nlp, batch, "tok2vec")
    # Two mentions of the last one make three: what comes next starts over.
    fever = make_example(nlp, "A fever", ("fever", "C08"))
    step(nlp, [first, fever], "tok2vec")
    step(nlp, [first], "tok2vec")
    step(nlp, [last], "tok2vec")
    own = [first.reference.text, last.reference.text]
    assert texts == [*own, first.reference.text, "A fever", last.reference.text]
