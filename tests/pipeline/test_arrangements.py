"""Pipelines that a linker can stand in: each learns a few documents, and is saved and loaded."""

import gc

import numpy as np
import pytest
import spacy
from spacy.util import load_model_from_config

from spacy_metric_el.encoding.upstream import find_listener
from spacy_metric_el.model.fingerprint import fingerprint

from ..util import (
    CURATED,
    CURATED_LISTENER,
    LINKER,
    NICKNAME_OF,
    NICKNAMES,
    TOK2VEC_LISTENER,
    TRANSFORMER_LISTENER,
    encoder_config,
    links,
    make_doc,
    make_example,
    make_kb,
    make_nlp,
    ner_config,
    train,
)

UPSTREAM = {"listener": "tok2vec", "transformer": "transformer", "curated": "transformer"}
LISTENER = {
    "listener": TOK2VEC_LISTENER,
    "transformer": TRANSFORMER_LISTENER,
    "curated": CURATED_LISTENER,
}
TEXTS = ["She had {} today", "She had {} yesterday"]
STEPS = 50


@pytest.fixture(params=["listener", "transformer", CURATED])
def kind(request):
    return request.param


@pytest.fixture
def build(kind, bert):
    """RETURNS (Callable): Makes an initialized pipeline with a vocabulary of nicknames."""

    def make(*, ner_last=False, **settings):
        spacy.util.fix_random_seed(0)
        nlp = make_nlp(kind, bert=bert, **settings)
        if ner_last:
            nlp.add_pipe("ner", config=ner_config(LISTENER[kind]))
        nlp.initialize(lambda: [make_example(nlp, "a zorblax", ("zorblax", "N1"))])
        nlp.get_pipe(LINKER).set_kb(make_kb(NICKNAMES))
        return nlp

    return make


def lessons(nlp, *, days=False):
    """Make documents whose mentions have other concepts than a fresh linker gives them.

    days (bool): Whether "today" and "yesterday" are entities as well, without a concept.
    """
    ids = [entity.concept_id for entity in NICKNAMES]
    examples = []
    for i, word in enumerate(NICKNAME_OF):
        doc = nlp(make_doc(nlp, f"A patient reported {word}", (word, "")))
        (fresh,) = (ent.kb_id_ for ent in doc.ents if ent.text == word)
        concept_id = ids[(ids.index(fresh) + 1 + i % 2) % 3]
        for text in TEXTS:
            day = [(text.split()[-1], "")] if days else []
            examples.append(make_example(nlp, text.format(word), (word, concept_id), *day))
    return examples


def digests(nlp, *names):
    return [fingerprint([nlp.get_pipe(name).model]) for name in names]


def check_round_trip(nlp, examples, folder):
    """Check that a pipeline finds and links all that it was taught, saved and loaded as well.

    RETURNS (Language): The loaded pipeline.
    """
    texts = [example.reference.text for example in examples]
    docs = list(nlp.pipe(texts))
    for doc, example in zip(docs, examples, strict=True):
        gold = [(ent.text, ent.kb_id_) for ent in example.reference.ents]
        assert [(ent.text, ent.kb_id_) for ent in doc.ents] == gold
    nlp.to_disk(folder)
    loaded = spacy.load(folder)
    assert links(loaded.pipe(texts)) == links(docs)
    return loaded


def test_recognizer_and_linker_learn_together(build, kind, tmp_path):
    nlp = build(ner=True)
    trained = [UPSTREAM[kind], "ner", LINKER]
    before = digests(nlp, *trained)
    examples = lessons(nlp)
    train(nlp, examples, STEPS)
    assert all(a != b for a, b in zip(before, digests(nlp, *trained), strict=True))
    check_round_trip(nlp, examples, tmp_path / "nlp")


def test_linker_before_the_recognizer(build, tmp_path):
    """It links what others found before; the recognizer leaves that, and adds its own."""
    nlp = build(entities=list(NICKNAME_OF), ner_last=True)
    assert nlp.pipe_names[-2:] == [LINKER, "ner"]
    examples = lessons(nlp, days=True)
    train(nlp, examples, STEPS)
    check_round_trip(nlp, examples, tmp_path / "nlp")


def test_frozen_upstream(build, kind, tmp_path):
    name = UPSTREAM[kind]
    nlp = build(entities=list(NICKNAME_OF))
    before = digests(nlp, name)
    examples = lessons(nlp)
    train(nlp, examples, STEPS, exclude=[name], annotates=[name])
    assert digests(nlp, name) == before
    check_round_trip(nlp, examples, tmp_path / "nlp")


def test_linker_added_to_a_trained_pipeline(build, kind, tmp_path):
    """Only the linker learns; what was there before gives what it gave."""
    old = build(ner=True)
    entities = lessons(old)
    old.remove_pipe(LINKER)
    train(old, entities, STEPS, linker="ner")
    old.to_disk(tmp_path / "old")
    make_kb(NICKNAMES).to_disk(tmp_path / "kb")
    nlp = spacy.load(tmp_path / "old")
    rest = [UPSTREAM[kind], "ner"]
    before = digests(nlp, *rest)
    nlp.add_pipe(LINKER, config={"model": encoder_config(LISTENER[kind])})
    nlp.get_pipe(LINKER).load_kb(tmp_path / "kb")
    examples = lessons(nlp)
    train(nlp, examples, STEPS, exclude=rest, annotates=rest[:1])
    loaded = check_round_trip(nlp, examples, tmp_path / "new")
    assert digests(nlp, *rest) == digests(loaded, *rest) == before


def test_replaced_listeners_learn(build, kind, tmp_path):
    """The linker has a copy of the upstream of its own; the upstream learns from it no more."""
    nlp = build(entities=list(NICKNAME_OF))
    name = UPSTREAM[kind]
    nlp.replace_listeners(name, LINKER, ["model.tok2vec"])
    before = digests(nlp, name, LINKER)
    examples = lessons(nlp)
    train(nlp, examples, STEPS)
    after = digests(nlp, name, LINKER)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    nlp.remove_pipe(name)
    loaded = check_round_trip(nlp, examples, tmp_path / "nlp")
    assert loaded.pipe_names == ["entity_ruler", LINKER]


@pytest.fixture
def trained(build, tmp_path):
    """A trained pipeline in a folder, and what it was taught."""
    nlp = build(entities=list(NICKNAME_OF))
    examples = lessons(nlp)
    train(nlp, examples, STEPS)
    check_round_trip(nlp, examples, tmp_path / "trained")
    return tmp_path / "trained", examples


def test_sourced_by_add_pipe(trained, kind, tmp_path):
    """Into a pipeline with a vocabulary of its own; the old one is gone when it is saved."""
    folder, examples = trained
    nlp = spacy.blank("xx")
    source = spacy.load(folder)
    for name in (UPSTREAM[kind], "entity_ruler", LINKER):
        nlp.add_pipe(name, source=source)
    del source
    gc.collect()
    check_round_trip(nlp, examples, tmp_path / "nlp")


@pytest.mark.parametrize("replaced", [False, True])
def test_sourced_by_a_config(trained, kind, replaced, tmp_path):
    folder, examples = trained
    names = [UPSTREAM[kind], "entity_ruler", LINKER]
    config = spacy.blank("xx").config
    config["components"] = {name: {"source": str(folder)} for name in names}
    if replaced:
        config["components"][LINKER]["replace_listeners"] = ["model.tok2vec"]
    config["nlp"]["pipeline"] = names
    nlp = load_model_from_config(config, auto_fill=True)
    listener = find_listener(nlp.get_pipe(LINKER).model.get_ref("tok2vec"))
    assert (listener is None) == replaced
    loaded = check_round_trip(nlp, examples, tmp_path / "nlp")
    expected = spacy.load(folder).get_pipe(LINKER).encode_names(["sunburn"])
    np.testing.assert_allclose(
        loaded.get_pipe(LINKER).encode_names(["sunburn"]), expected, atol=1e-5
    )
