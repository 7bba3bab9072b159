"""Candidates and links on documents, and copies of examples."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_metric_el.pipeline.annotations import copy_to_score, set_candidates, set_links

from ..util import make_doc, make_example

SETTINGS = {"threshold": None, "nil": "NIL", "overwrite": True}
CANDIDATES = [[[("C01", 0.7), ("C02", 0.2)], [("C03", 0.5)]]]


@pytest.fixture(scope="module")
def nlp():
    if not Span.has_extension("kb_ents"):
        Span.set_extension("kb_ents", default=[])
    return spacy.blank("xx")


@pytest.fixture
def doc(nlp):
    return make_doc(nlp, "a heart attack and a cold", ("heart attack", ""), ("cold", "OLD"))


def ids(doc):
    return [ent.kb_id_ for ent in doc.ents]


def test_candidates_are_copied_to_each_entity(nlp, doc):
    empty = nlp("nothing")
    candidates = [[], *CANDIDATES]
    set_candidates([empty, doc], candidates)
    assert [ent._.kb_ents for ent in doc.ents] == CANDIDATES[0]
    doc.ents[0]._.kb_ents.append(("C09", 0.1))
    assert len(CANDIDATES[0][0]) == 2
    assert ids(doc) == ["", "OLD"]


@pytest.mark.parametrize("candidates", [[], [[]], [CANDIDATES[0][:1]], CANDIDATES * 2])
def test_candidates_must_be_of_all_entities(doc, candidates):
    with pytest.raises(ValueError, match="zip"):
        set_candidates([doc], candidates)
    with pytest.raises(ValueError, match="zip"):
        set_links([doc], candidates, **SETTINGS)


def test_every_token_gets_the_best_id(doc):
    set_links([doc], CANDIDATES, **SETTINGS)
    assert ids(doc) == ["C01", "C03"]
    assert [token.ent_kb_id_ for token in doc] == ["", "C01", "C01", "", "", "C03"]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (None, ["C01", "C03"]),
        (0.0, ["C01", "C03"]),
        (0.5, ["C01", "C03"]),
        (0.51, ["C01", "NONE"]),
        (1.0, ["NONE", "NONE"]),
    ],
)
def test_a_best_score_below_the_threshold_gives_nil(doc, threshold, expected):
    set_links([doc], CANDIDATES, **{**SETTINGS, "threshold": threshold, "nil": "NONE"})
    assert ids(doc) == expected


@pytest.mark.parametrize("threshold", [None, 0.0, 0.3])
def test_without_candidates_an_entity_gets_nil(doc, threshold):
    set_links([doc], [[[], []]], **{**SETTINGS, "threshold": threshold})
    assert ids(doc) == ["NIL", "NIL"]


@pytest.mark.parametrize("threshold", [None, 0.9])
def test_links_that_are_there_stay_unless_they_may_be_replaced(doc, threshold):
    set_links([doc], CANDIDATES, **{**SETTINGS, "overwrite": False, "threshold": threshold})
    assert ids(doc) == ["C01" if threshold is None else "NIL", "OLD"]
    set_links([doc], CANDIDATES, **SETTINGS)
    assert ids(doc) == ["C01", "C03"]


def test_a_copy_has_the_gold_entities_and_the_original_keeps_its_own(nlp):
    example = make_example(nlp, "a heart attack and a cold", ("cold", "C03"))
    example.predicted.ents = [Span(example.predicted, 1, 3, label="GUESS", kb_id="C01")]
    copy = copy_to_score(example, gold_ents=True)
    assert [(ent.text, ent.kb_id_) for ent in copy.predicted.ents] == [("cold", "")]
    assert [(ent.text, ent.kb_id_) for ent in example.predicted.ents] == [("heart attack", "C01")]
    assert copy.reference is example.reference


def test_a_copy_has_the_predicted_entities(nlp):
    example = make_example(nlp, "a heart attack and a cold", ("cold", "C03"))
    example.predicted.ents = [Span(example.predicted, 1, 3, label="GUESS", kb_id="C01")]
    copy = copy_to_score(example, gold_ents=False)
    assert [(ent.text, ent.kb_id_) for ent in copy.predicted.ents] == [("heart attack", "C01")]
    set_links([copy.predicted], [[[("C02", 1.0)]]], **SETTINGS)
    assert ids(example.predicted) == ["C01"]


def test_a_copy_shares_states_and_has_a_dictionary_of_its_own(nlp):
    example = make_example(nlp, "a cold", ("cold", "C03"))
    example.predicted.tensor = np.ones((2, 3), dtype="float32")
    example.predicted.user_data["key"] = "value"
    copy = copy_to_score(example, gold_ents=True).predicted
    assert copy.tensor is example.predicted.tensor
    assert copy.user_data["key"] == "value"
    copy.user_data["key"] = "other"
    assert example.predicted.user_data["key"] == "value"


@pytest.mark.parametrize("gold_ents", [True, False])
def test_a_copy_of_a_document_without_tokens(nlp, gold_ents):
    example = Example(Doc(nlp.vocab), Doc(nlp.vocab))
    assert len(copy_to_score(example, gold_ents=gold_ents).predicted) == 0
