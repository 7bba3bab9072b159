"""Documents that a transformer reads in pieces, and mentions that lie across their borders."""

import numpy as np
import pytest
import spacy

from spacy_metric_el.corpus.gold import gold_mentions
from spacy_metric_el.kb import Entity

from ..util import CURATED, LINKER, links, make_example, make_kb, make_nlp, set_ents, train

BLOCK = 10
LONG = 5_000


def build(bert, spans, entities, vocabulary=None, kind="transformer"):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(kind, bert=bert, spans=spans, entities=entities)
    nlp.initialize(lambda: [make_example(nlp, "He had a cold", ("cold", "C03"))])
    nlp.get_pipe(LINKER).set_kb(make_kb(vocabulary) if vocabulary else make_kb())
    return nlp


@pytest.fixture
def nlp(bert):
    """Each block of words is read by itself."""
    return build(bert, (BLOCK, BLOCK), ["heart attack", "fever"])


def block_text(mention):
    words = ["He", "had", *mention.split(), "and"]
    return " ".join([*words, *["so"] * (BLOCK - len(words))])


def test_the_place_in_a_long_document_does_not_matter(nlp):
    text = " ".join([block_text("heart attack"), block_text("fever")] * (LONG // (2 * BLOCK)))
    doc = nlp(text)
    assert len(doc) == LONG
    assert [ent.kb_id_ for ent in doc.ents] == ["C01", "C08"] * (LONG // (2 * BLOCK))
    linker = nlp.get_pipe(LINKER)
    vectors = linker.encode_spans([doc], [(0, ent.start, ent.end) for ent in doc.ents])
    short = [nlp(block_text(mention)) for mention in ("heart attack", "fever")]
    expected = linker.encode_spans(short, [(0, 2, 4), (1, 2, 3)])
    np.testing.assert_allclose(vectors, np.tile(expected, (len(vectors) // 2, 1)), atol=1e-5)


def test_a_long_document_teaches(nlp):
    text = " ".join([block_text("chill")] * (LONG // BLOCK))
    example = make_example(nlp, text, ("chill", "C03"))
    gold = example.reference
    set_ents(gold, *[(i, i + 1) for i, token in enumerate(gold) if token.text == "chill"])
    for ent in gold.ents:
        ent[0].ent_kb_id_ = "C03"
    assert len(list(gold_mentions(example))) == LONG // BLOCK
    mentions = [(0, ent.start, ent.end) for ent in gold.ents]

    def share():
        found = nlp.get_pipe(LINKER).predict_spans([nlp(text)], mentions, top_k=1)
        return np.mean([candidates[0][0] == "C03" for candidates in found])

    assert share() == 0
    train(nlp, [example], 5)
    assert share() == 1


@pytest.mark.parametrize(
    ("kind", "spans"),
    [
        ("transformer", (4, 4)),
        ("transformer", (4, 3)),
        ("transformer", (3, 1)),
        pytest.param("curated", (8, 6), marks=CURATED.marks),
    ],
)
def test_mentions_across_borders_are_learned(kind, bert, spans, tmp_path):
    """Names of six words and more pieces than a window has: none holds one as a whole."""
    names = {"zorb lax of the upper quim": "N1", "vudge py in a lower gronk": "N2"}
    vocabulary = [Entity("N1", "sunburn", [], []), Entity("N2", "broken leg", [], [])]
    nlp = build(bert, spans, list(names), vocabulary, kind)
    fresh = [ent.kb_id_ for ent in nlp(" and ".join(names)).ents]
    other = {"N1": "N2", "N2": "N1"}
    gold = [other[concept_id] for concept_id in fresh]
    texts = ["She had {} today", "Then came {} and she left"]
    examples = [
        make_example(nlp, text.format(name), (name, concept_id))
        for name, concept_id in zip(names, gold, strict=True)
        for text in texts
    ]
    train(nlp, examples, 40)
    docs = list(nlp.pipe(example.reference.text for example in examples))
    assert [ent.kb_id_ for doc in docs for ent in doc.ents] == np.repeat(gold, 2).tolist()
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    assert links(loaded.pipe(doc.text for doc in docs)) == links(docs)


def test_a_mention_that_the_transformer_never_read(bert):
    """Wordpieces beyond its longest input are cut off; the mention's text is still there."""
    nlp = build(bert, (64, 48), ["fever"])
    text = f"{'x' * 90} {'y' * 90} fever"
    doc = nlp(text)
    assert not doc._.trf_data.align[len(doc) - 1].data.size
    assert [ent.kb_id_ for ent in doc.ents] == ["C08"]
    before = nlp.get_pipe(LINKER).fingerprint()
    (loss,) = train(nlp, [make_example(nlp, text, ("fever", "C08"))], 1)
    assert np.isfinite(loss)
    assert nlp.get_pipe(LINKER).fingerprint() != before
    assert [ent.kb_id_ for ent in nlp(text).ents] == ["C08"]
