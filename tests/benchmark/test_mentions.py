import pytest

from benchmark.mentions import Corpus, Mention, expand_abbreviations, read_corpus
from spacy_metric_el.errors import MetricELError


def test_mentions_are_those_of_the_file(dev):
    assert [mention.text for mention in dev.mentions] == [
        *("Cold", "fever", "myocardial infarction", "MI", "MI", "MI was"),
        *("Fever and headache", "acetylsalicylic acid", "zorblax", "sunburn"),
    ]
    assert [mention.gold for mention in dev.mentions[-5:-2]] == [(), ("C08", "C07"), ("C05",)]
    assert {(mention.doc, mention.doc_id) for mention in dev.mentions} == {(0, "20"), (1, "21")}
    for mention in dev.mentions:
        assert dev.docs[mention.doc][mention.start : mention.end].text == mention.text


def test_documents_have_sentences(dev):
    assert [sentence.text for sentence in dev.docs[0].sents] == [
        "Cold, fever and no myocardial infarction (MI).",
        "MI was ruled out.",
    ]


def test_short_forms_know_their_long_forms(dev):
    found = [mention.long_form for mention in dev.mentions]
    assert found == ["", "", "", "myocardial infarction", "myocardial infarction", *[""] * 5]


def test_without_abbreviations(task, dev_path):
    corpus = read_corpus(task.nlp, dev_path, limit=1, abbreviations=False)
    assert len(corpus.docs) == 1
    assert not any(mention.long_form for mention in corpus.mentions)


def test_long_forms_take_the_place_of_short_ones(task, dev):
    expanded, numbers = expand_abbreviations(task.nlp, dev)
    assert numbers == [3, 4]
    assert [doc.text for doc in expanded.docs] == [
        "Cold, fever and no myocardial infarction (myocardial infarction). "
        "myocardial infarction was ruled out."
    ]
    for mention in expanded.mentions:
        assert mention.text == "myocardial infarction"
        assert expanded.docs[mention.doc][mention.start : mention.end].text == mention.text
    assert expanded.mentions[1].start > expanded.mentions[0].end


def test_overlapping_short_forms_get_documents_of_their_own(task):
    doc = task.nlp("An AB CD here")
    mentions = [
        Mention(0, "d", 1, 3, "AB CD", ("C1",), "long one"),
        Mention(0, "d", 1, 2, "AB", ("C2",), "short one"),
        Mention(0, "d", 3, 4, "here", ("C3",), "there"),
    ]
    expanded, numbers = expand_abbreviations(task.nlp, Corpus([doc], mentions))
    assert numbers == [0, 1, 2]
    assert [doc.text for doc in expanded.docs] == ["An short one CD there", "An long one here"]
    assert [mention.doc for mention in expanded.mentions] == [1, 0, 0]


def test_missing_file(task, tmp_path):
    with pytest.raises(MetricELError, match="E401"):
        read_corpus(task.nlp, tmp_path / "none.pubtator")
