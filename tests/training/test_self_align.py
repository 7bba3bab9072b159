"""Learning from the synonyms of a knowledge base."""

import numpy as np
import pytest
import spacy
from thinc.api import Model

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity
from spacy_metric_el.training.callbacks import SelfAlign
from spacy_metric_el.training.self_align import synonym_batches

from ..util import LINKER, make_example, make_kb, make_nlp

SYNONYMS = [
    Entity("N1", "zorblax", ["quimpy", "heart"], ["T047"]),
    Entity("N2", "vudge", ["plimsy", "liver"], ["T047"]),
    Entity("N3", "wibble", ["gronk", "kidney"], ["T047"]),
]


def build(vocabulary, kind="own", **settings):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(kind, **settings)
    nlp.initialize(lambda: [make_example(nlp, "He had a cold", ("cold", "C03"))])
    nlp.get_pipe(LINKER).set_kb(make_kb(vocabulary))
    return nlp, nlp.get_pipe(LINKER)


def similarity_of_synonyms(linker):
    names = ["zorblax", "quimpy", "vudge", "plimsy"]
    vectors = linker.encode_names(names)
    gram = vectors @ vectors.T
    return gram[0, 1] + gram[2, 3] - gram[0, 2] - gram[1, 3]


@pytest.mark.parametrize("kind", ["own", "listener"])
def test_synonyms_come_together(kind):
    nlp, linker = build(SYNONYMS, kind)
    before = similarity_of_synonyms(linker)
    assert SelfAlign(steps=60, size=16, learn_rate=0.01)(nlp) is nlp
    assert similarity_of_synonyms(linker) > before + 0.5


def parameters(model):
    return [
        node.get_param(name).copy()
        for node in model.walk()
        for name in node.param_names
        if node.has_param(name)
    ]


@pytest.mark.parametrize("kind", ["own", "listener"])
def test_without_context_only_the_surface_learns(kind):
    nlp, linker = build(SYNONYMS, kind, model={"name_context": False})
    upstream = nlp.get_pipe("tok2vec").model if kind == "listener" else linker.model.layers[0]
    before, weights = similarity_of_synonyms(linker), parameters(upstream)
    linker.self_align(nlp, steps=60, size=16, learn_rate=0.01, seed=0)
    assert similarity_of_synonyms(linker) > before + 0.5
    for before_it, after in zip(weights, parameters(upstream), strict=True):
        np.testing.assert_array_equal(before_it, after)


def learning_rates(monkeypatch, factor):
    nlp, linker = build(SYNONYMS, "listener", learn_rate_factor=factor)
    rates = {}
    names = {id(pipe.model): name for name, pipe in nlp.pipeline}
    finish = Model.finish_update

    def finish_and_note(model, sgd):
        rates.setdefault(names.get(id(model)), []).append(sgd.learn_rate)
        finish(model, sgd)

    monkeypatch.setattr(Model, "finish_update", finish_and_note)
    linker.self_align(nlp, steps=3, size=8, learn_rate=0.01, seed=0)
    return rates


def test_the_learning_rate_is_that_of_the_linkers_own_layers(monkeypatch):
    rates = learning_rates(monkeypatch, 20.0)
    assert max(rates[LINKER]) == pytest.approx(0.01)
    assert max(rates["tok2vec"]) == pytest.approx(0.01 / 20)


def test_the_memory_of_mentions_stays_out_of_it_and_comes_back():
    nlp, linker = build(SYNONYMS)
    linker.cfg["memory_weight"] = 0.7
    linker.self_align(nlp, steps=2, size=8, learn_rate=0.01, seed=0)
    assert linker.cfg["memory_weight"] == 0.7


def test_other_components_rest():
    nlp, linker = build(SYNONYMS)
    ner = nlp.add_pipe("ner", first=True)
    ner.add_label("X")
    nlp.initialize(lambda: [make_example(nlp, "He had a cold", ("cold", "C03"))])
    linker.set_kb(make_kb(SYNONYMS))
    before = ner.model.to_bytes()
    linker.self_align(nlp, steps=3, size=8, learn_rate=0.01, seed=0)
    assert ner.model.to_bytes() == before


def test_batches_hold_several_names_of_each_concept():
    _, linker = build([*SYNONYMS, Entity("N4", "single", [], [])])
    batches = synonym_batches(linker.kb.records, size=8, seed=0)
    seen = set()
    for _ in range(4):
        names, entities = zip(*next(batches), strict=True)
        found, counts = np.unique(entities, return_counts=True)
        assert (counts >= 2).all()
        assert len(set(zip(names, entities, strict=True))) == len(names)
        seen |= {linker.kb.records.concept_id(entity) for entity in found}
    assert seen == {"N1", "N2", "N3"}


def test_a_vocabulary_without_synonyms_is_refused():
    nlp, linker = build([Entity("N4", "single", [], [])])
    with pytest.raises(MetricELError, match="E233"):
        linker.self_align(nlp, steps=1, size=8, learn_rate=0.01, seed=0)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"size": 0}, {"learn_rate": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(MetricELError, match="E234"):
        SelfAlign(**wrong)
