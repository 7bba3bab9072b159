import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.tokens.underscore import Underscore
from spacy.training import Example

from spacy_metric_el.corpus.alignment import make_gold_doc
from spacy_metric_el.corpus.pubtator import PubTatorDocument, PubTatorMention
from spacy_metric_el.evaluation.scorer import (
    linked_mentions,
    make_linking_scorer,
    score_linking,
)

WORDS = ["Aspirin", "stops", "pain", "after", "heart", "attack"]
NLP = spacy.blank("en")


@pytest.fixture
def kb_ents(monkeypatch):
    """Register the extension for one test only."""
    monkeypatch.setattr(Underscore, "span_extensions", {})
    Span.set_extension("kb_ents", default=[])


@pytest.fixture
def no_kb_ents(monkeypatch):
    monkeypatch.setattr(Underscore, "span_extensions", {})


def make_doc(*ents):
    """Each entity is (first token, end token, kb id), and candidates where it has them."""
    doc = Doc(NLP.vocab, words=WORDS)
    doc.ents = [Span(doc, ent[0], ent[1], label="ENTITY", kb_id=ent[2]) for ent in ents]
    for span, ent in zip(doc.ents, ents, strict=True):
        if len(ent) == 4:
            span._.kb_ents = ent[3]
    return doc


def example(predicted, gold):
    return Example(make_doc(*predicted), make_doc(*gold))


def test_maker_returns_the_scorer():
    assert make_linking_scorer() is score_linking


def test_every_score_is_there(kb_ents):
    ranked = [("C2", 0.9), ("C1", 0.8)]
    scores = score_linking([example([(0, 1, "C2", ranked)], [(0, 1, "C1")])], ks=(1, 2))
    assert scores["el_acc"] == 0.0
    assert scores["el_recall_at_1"] == 0.0
    assert scores["el_recall_at_2"] == 1.0
    assert scores["el_mrr"] == 0.5
    expected = {"nel_score", "nel_f_per_type", "el_ece"}
    expected |= {f"nel_{kind}_{part}" for kind in ("micro", "macro") for part in "prf"}
    assert expected <= set(scores)
    assert "ENTITY" in scores["nel_f_per_type"]


def test_default_depths():
    assert {"el_recall_at_5", "el_recall_at_64"} <= set(score_linking([]))


@pytest.mark.parametrize("gold", ["", "NIL"])
@pytest.mark.parametrize("predicted", ["", "NIL"])
def test_unlinked_gold_with_unlinked_prediction_is_no_hit(no_kb_ents, gold, predicted):
    scores = score_linking([example([(0, 1, predicted)], [(0, 1, gold)])])
    assert scores["el_acc"] == 0.0
    assert scores["nel_micro_p"] == scores["nel_micro_r"] == 0.0


def test_link_on_unlinked_gold_costs_spacy_precision_only(no_kb_ents):
    eg = example([(0, 1, "C1"), (2, 3, "C2")], [(0, 1, "C1"), (2, 3, "")])
    scores = score_linking([eg])
    assert scores["el_acc"] == 1.0
    assert scores["nel_micro_p"] == 0.5
    assert scores["nel_micro_r"] == 1.0


def test_missed_mention_is_wrong(no_kb_ents):
    eg = example([(0, 1, "C1"), (4, 5, "C2")], [(0, 1, "C1"), (4, 6, "C2")])
    scores = score_linking([eg])
    assert scores["el_acc"] == scores["el_recall_at_5"] == scores["el_mrr"] == 0.5
    assert scores["nel_micro_f"] == pytest.approx(1.0)


@pytest.mark.parametrize("link", ["NIL", ""])
def test_nil_prediction_is_wrong_though_its_candidates_are_right(kb_ents, link):
    scores = score_linking([example([(0, 1, link, [("C1", 0.2)])], [(0, 1, "C1")])])
    assert scores["el_acc"] == scores["el_acc_in_kb"] == 0.0
    assert scores["el_recall_at_5"] == scores["el_mrr"] == 1.0
    assert scores["nel_micro_r"] == 0.0


def test_nil_can_have_another_name(no_kb_ents):
    eg = example([(0, 1, "NONE"), (2, 3, "C2")], [(0, 1, "NONE"), (2, 3, "C2")])
    assert len([m for m, _ in linked_mentions([eg], nil="NONE") if m.gold]) == 1
    assert score_linking([eg], nil="NONE")["nel_micro_f"] == pytest.approx(1.0)


def test_any_part_of_a_composite_gold_is_right(kb_ents):
    eg = example([(0, 1, "C2", [("C2", 0.9)])], [(0, 1, "C1|C2")])
    scores = score_linking([eg], kb={"C1"})
    assert scores["el_acc"] == scores["el_acc_in_kb"] == scores["el_mrr"] == 1.0


def test_ids_of_the_span_group_come_before_those_of_the_entity(no_kb_ents):
    eg = example(
        [(0, 1, "C2"), (2, 3, "C3"), (4, 6, "C4")], [(0, 1, "C1"), (2, 3, "C3"), (4, 6, "C9")]
    )
    assert score_linking([eg])["el_acc"] == pytest.approx(1 / 3)
    # The overlapping mention (5, 6) and the second one of (4, 6) are in no entity.
    places = [(0, 1, "C1|C2"), (4, 6, "C9"), (4, 6, "C4"), (5, 6, "C5")]
    eg.reference.spans["mentions"] = [
        Span(eg.reference, start, end, kb_id=kb_id) for start, end, kb_id in places
    ]
    gold = [mention.gold for mention, _ in linked_mentions([eg])]
    assert gold == [{"C1", "C2"}, {"C3"}, {"C9"}]
    scores = score_linking([eg], kb={"C2", "C3"})
    assert scores["el_acc"] == scores["el_mrr"] == pytest.approx(2 / 3)
    assert scores["el_acc_in_kb"] == 1.0
    assert scores["nel_micro_p"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("through_docbin", [False, True])
def test_composite_gold_of_a_corpus(no_kb_ents, through_docbin):
    mention = PubTatorMention(0, 7, "Aspirin", "ENTITY", ("C1", "C2"))
    gold, _ = make_gold_doc(NLP, PubTatorDocument("1", "Aspirin stops pain", (mention,)))
    if through_docbin:
        (gold,) = DocBin(docs=[gold], store_user_data=True).get_docs(NLP.vocab)
    predicted = NLP.make_doc(gold.text)
    predicted.ents = [Span(predicted, 0, 1, label="ENTITY", kb_id="C2")]
    scores = score_linking([Example(predicted, gold)])
    assert scores["el_acc"] == scores["el_mrr"] == 1.0
    assert scores["nel_micro_r"] == 0.0


def test_calibration_error_counts_unlinked_and_missed_mentions(kb_ents):
    predicted = [(0, 1, "C1", [("C1", 0.75), ("C2", 0.25)]), (2, 3, "NIL", [("C2", 0.5)])]
    gold = [(0, 1, "C1"), (2, 3, ""), (4, 6, "C3")]
    scores = score_linking([example(predicted, gold)])
    assert scores["el_ece"] == pytest.approx((0.25 + 0.5 + 0.0) / 3)


def test_accuracy_in_kb(no_kb_ents):
    eg = example([(0, 1, "C1"), (2, 3, "C2")], [(0, 1, "C1"), (2, 3, "C9")])
    assert score_linking([eg], kb={"C1", "C2"})["el_acc_in_kb"] == 1.0
    assert score_linking([eg], kb=set())["el_acc_in_kb"] == 0.0
    assert score_linking([eg])["el_acc_in_kb"] == score_linking([eg])["el_acc"] == 0.5


def test_without_the_extension_the_link_is_the_only_candidate(no_kb_ents):
    eg = example([(0, 1, "C1"), (2, 3, "NIL")], [(0, 1, "C1"), (2, 3, "C2")])
    (first, _), (second, _) = linked_mentions([eg])
    assert first.candidates == (("C1", 1.0),)
    assert second.candidates == ()
    assert score_linking([eg])["el_mrr"] == 0.5


def test_empty_candidates_leave_the_link(kb_ents):
    assert score_linking([example([(0, 1, "C1")], [(0, 1, "C1")])])["el_mrr"] == 1.0


def test_candidates_after_a_round_trip_of_the_doc(kb_ents):
    predicted = make_doc((0, 1, "C2", [("C2", 0.5), ("C1", 0.25)]))
    loaded = Doc(NLP.vocab).from_bytes(predicted.to_bytes())
    assert isinstance(loaded.ents[0]._.kb_ents[0], list)
    ((mention, link),) = linked_mentions([Example(loaded, make_doc((0, 1, "C1")))])
    assert link == "C2"
    assert mention.candidates == (("C2", 0.5), ("C1", 0.25))
    assert mention.rank == 2


def test_docs_without_entities(no_kb_ents):
    scores = score_linking([example([], []), example([(0, 1, "C1")], [])])
    assert scores["el_acc"] == scores["el_mrr"] == scores["nel_score"] == 0.0


def test_no_examples():
    scores = score_linking([])
    numbers = [scores[key] for key in ("el_acc", "el_acc_in_kb", "el_recall_at_5", "el_mrr")]
    assert numbers == [0.0] * 4
    assert scores["el_ece"] == 0.0
    assert scores["nel_score"] == 0.0


def test_examples_may_be_a_generator(no_kb_ents):
    scores = score_linking(example([(0, 1, "C1")], [(0, 1, "C1")]) for _ in range(2))
    assert scores["el_acc"] == 1.0
    assert scores["nel_micro_f"] == pytest.approx(1.0)


def test_settings_of_other_components_are_passed_over():
    assert score_linking([], threshold=0.5, negative_labels=["x"])["el_acc"] == 0.0


def test_documents_keep_their_mentions_apart(no_kb_ents):
    eg = example([], [(0, 1, "C1"), (4, 6, "C2")])
    mentions = [mention for mention, _ in linked_mentions([eg, eg])]
    assert [mention.doc_id for mention in mentions] == ["0", "0", "1", "1"]
    assert mentions[1].text == "heart attack"
