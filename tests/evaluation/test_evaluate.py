"""Linking a corpus with any linker, and what is measured of it."""

from functools import partial

import pytest
from spacy.tokens import Span
from spacy.training import Example

from spacy_metric_el.corpus.alignment import SPANS_KEY
from spacy_metric_el.encoding.feeding import feed, feeding_pipes
from spacy_metric_el.evaluation.evaluate import (
    LinkedCorpus,
    evaluate_exact_lookup,
    evaluate_links,
    link_corpus,
    link_gold,
    link_predicted,
)
from spacy_metric_el.evaluation.mentions import LinkedMention

from ..util import LINKER, make_doc, make_nlp


class WordLinker:
    """Links spans by a table, and remembers what it was asked."""

    def __init__(self, table):
        self.table = table
        self.asked = []

    def predict_spans(self, docs, spans, *, labels=None, top_k):
        self.asked.append((len(docs), len(spans)))
        texts = [docs[i][start:end].text for i, start, end in spans]
        return [self.table.get(text, [])[:top_k] for text in texts]

    def predict(self, docs, *, top_k):
        return [
            self.predict_spans([doc], [(0, ent.start, ent.end) for ent in doc.ents], top_k=top_k)
            for doc in docs
        ]


TABLE = {"cold": [("C04", 0.9), ("C03", 0.8)], "fever": [("C08", 1.0)]}


@pytest.fixture
def nlp(kb_folder):
    nlp = make_nlp(entities=["cold"])
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


def example(nlp, text, *ents, doc_id=None, nested=()):
    """RETURNS (Example): Ents as gold, and in the span group further, nested mentions."""
    reference = make_doc(nlp, text, *ents)
    extra = [Span(reference, start, end, label="X", kb_id=cid) for start, end, cid in nested]
    reference.spans[SPANS_KEY] = [*reference.ents, *extra]
    if doc_id is not None:
        reference.user_data["doc_id"] = doc_id
    return Example(nlp.make_doc(text), reference)


def test_every_gold_mention_is_linked(nlp):
    examples = [
        example(nlp, "A cold and fever", ("cold", "C03"), ("fever", "NIL"), doc_id="a"),
        example(nlp, "no mention here"),
        example(nlp, "A cold", ("cold", "C04|C03"), nested=[(0, 2, "C05")]),
    ]
    linker = WordLinker(TABLE)
    link = partial(link_gold, linker.predict_spans)
    run = link_corpus(iter(examples), list, link, batch_size=2)
    assert run.mentions == [
        LinkedMention("a", "cold", frozenset({"C03"}), tuple(TABLE["cold"])),
        LinkedMention("a", "fever", frozenset(), tuple(TABLE["fever"])),
        LinkedMention("2", "cold", frozenset({"C03", "C04"}), tuple(TABLE["cold"])),
        LinkedMention("2", "A cold", frozenset({"C05"}), ()),
    ]
    assert linker.asked == [(2, 2), (1, 2)]
    assert (run.documents, run.linked) == (3, 4)
    assert 0 < run.linking_seconds <= run.seconds


def test_predicted_entities_have_to_be_of_the_same_tokens(nlp):
    examples = [
        example(nlp, "A cold and fever", ("cold", "C04"), ("fever", "C08")),
        example(nlp, "A cold", ("A cold", "C04")),
    ]
    pipes = [nlp.get_pipe("entity_ruler")]
    link = partial(link_predicted, WordLinker(TABLE).predict)
    run = link_corpus(examples, partial(feed, pipes), link)
    assert [mention.rank for mention in run.mentions] == [1, 0, 0]
    assert run.linked == 2


def test_the_real_linker_fits(nlp):
    linker = nlp.get_pipe(LINKER)
    examples = [example(nlp, "Aspirin against fever", ("Aspirin", "C05"), ("fever", "C08"))]
    run = link_corpus(examples, list, partial(link_gold, linker.predict_spans, top_k=5))
    assert [mention.prediction for mention in run.mentions] == ["C05", "C08"]


def test_the_upstream_is_run_and_other_components_are_not(kb_folder):
    nlp = make_nlp("listener", ner=True)
    nlp.get_pipe("ner").add_label("X")
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.load_kb(kb_folder)
    eg = example(nlp, "Aspirin against fever", ("Aspirin", "C05"))
    read = partial(feed, feeding_pipes(nlp, linker.model))
    link_corpus([eg], read, partial(link_gold, linker.predict_spans))
    assert eg.predicted.tensor.size
    assert not eg.predicted.has_annotation("ENT_IOB")


def test_speed_of_nothing_is_zero():
    assert LinkedCorpus().speed() == {
        "mentions_per_second": 0.0,
        "linking_mentions_per_second": 0.0,
    }
    speed = LinkedCorpus(linked=10, seconds=4.0, linking_seconds=2.0).speed()
    assert speed == {"mentions_per_second": 2.5, "linking_mentions_per_second": 5.0}


MENTIONS = [
    LinkedMention("a", "Cold", frozenset({"C03"}), (("C03", 1.0),)),
    LinkedMention("a", "fever", frozenset({"C08"}), (("C07", 1.0), ("C08", 0.5))),
    LinkedMention("b", "sunburn", frozenset({"C99"}), ()),
    LinkedMention("b", "what", frozenset(), ()),
]


def test_all_measures():
    metrics = evaluate_links(
        MENTIONS, kb={"C03", "C08"}, seen_names={"cold"}, seen_entities={"C08"}
    )
    assert (metrics["mentions"], metrics["nil_mentions"]) == (3, 1)
    assert metrics["acc"] == pytest.approx(1 / 3)
    assert metrics["acc_in_kb"] == pytest.approx(1 / 2)
    assert metrics["recall_at_5"] == metrics["recall_at_64"] == pytest.approx(2 / 3)
    assert (metrics["gold_ids"], metrics["gold_ids_not_in_kb"]) == (3, 1)
    assert metrics["acc_interval"] == [0.0, 0.5]
    assert metrics["seen_name"] == {"n": 1, "acc": 1.0}
    assert metrics["seen_entity"] == metrics["slices"]["seen_entity"] == {"n": 1, "acc": 0.0}


def test_measures_of_scores():
    metrics = evaluate_links(MENTIONS, kb={"C03", "C08"}, seen_names=set(), seen_entities=set())
    # One right and one wrong at 1.0, and two without candidates.
    assert metrics["calibration"]["ece"] == pytest.approx(0.25)
    assert sum(row["count"] for row in metrics["calibration"]["bins"]) == 4
    assert (metrics["nil"]["mentions"], metrics["nil_mentions"]) == (2, 1)
    assert metrics["nil"]["average_precision"] == 1.0
    assert len(metrics["nil"]["thresholds"]) <= 20


def test_recall_deeper_than_the_candidates_is_left_out():
    metrics = evaluate_links(MENTIONS, kb=set(), seen_names=set(), seen_entities=set(), top_k=5)
    assert "recall_at_5" in metrics
    assert "recall_at_64" not in metrics


def test_exact_lookup_knows_training_first():
    found = evaluate_exact_lookup(
        MENTIONS,
        kb={"C03", "C08"},
        train_mentions=[("cold", "C03"), ("cold", "C03"), ("cold", "C04")],
        names=[("cold", "C01"), ("fever", "C08")],
    )
    assert found == {"acc": pytest.approx(2 / 3), "acc_in_kb": 1.0}
