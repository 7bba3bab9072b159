import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_metric_el.corpus.gold import GoldMention, gold_mentions, gold_spans

VOCAB = spacy.blank("en").vocab
WORDS = ["An", "anti-inflammatory", "drug", "for", "heart", "attack", "."]


def make_doc(words=WORDS, spaces=None):
    return Doc(VOCAB, words=words, spaces=spaces)


def make_reference(ents=(), spans=None):
    doc = make_doc()
    doc.ents = [Span(doc, start, end, "Sign", kb_id=kb_id) for start, end, kb_id in ents]
    if spans is not None:
        doc.spans["mentions"] = [
            Span(doc, start, end, "Group", kb_id=kb_id) for start, end, kb_id in spans
        ]
    return doc


def gold(reference, predicted=None, **kwargs):
    return gold_mentions(Example(predicted or make_doc(), reference), **kwargs)


def test_entities_are_gold_mentions():
    assert gold(make_reference([(1, 3, "C1"), (4, 6, "C2")])) == [
        GoldMention(1, 3, "anti-inflammatory drug", "Sign", ("C1",)),
        GoldMention(4, 6, "heart attack", "Sign", ("C2",)),
    ]


def test_the_span_group_goes_before_the_entities():
    spans = [(4, 6, "C2|C5"), (5, 6, "C3"), (1, 2, "")]
    reference = make_reference([(1, 3, "C1")], spans)
    assert gold(reference) == [
        GoldMention(4, 6, "heart attack", "Group", ("C2", "C5")),
        GoldMention(5, 6, "attack", "Group", ("C3",)),
        GoldMention(1, 2, "anti-inflammatory", "Group", ()),
    ]
    assert [span.label_ for span in gold_spans(reference)] == ["Group"] * 3


def test_an_empty_span_group_says_that_there_is_no_mention():
    assert gold(make_reference([(1, 3, "C1")], spans=[])) == []


@pytest.mark.parametrize(
    ("kb_id", "ids", "first"),
    [
        ("C1", ("C1",), "C1"),
        ("C1|C2", ("C1", "C2"), "C1"),
        ("NIL", (), ""),
        ("", (), ""),
        ("NIL|C2", ("C2",), "C2"),
        ("|C2||", ("C2",), "C2"),
        ("NIL2", ("NIL2",), "NIL2"),
    ],
)
def test_concept_ids_of_a_mention(kb_id, ids, first):
    (mention,) = gold(make_reference(spans=[(4, 6, kb_id)]))
    assert mention.concept_ids == ids
    assert mention.concept_id == first


def test_another_id_can_say_that_a_mention_is_not_linked():
    (mention,) = gold(make_reference([(4, 6, "-1")]), nil="-1")
    assert mention.concept_ids == ()
    (mention,) = gold(make_reference([(4, 6, "NIL")]), nil="-1")
    assert mention.concept_ids == ("NIL",)


def test_mentions_lie_on_the_tokens_of_the_predicted_document():
    words = ["An", "anti", "-", "inflammatory", "drug", "for", "heart attack", "."]
    spaces = [True, False, False, True, True, True, True, False]
    predicted = make_doc(words, spaces)
    spans = [(1, 3, "C1"), (4, 6, "C2"), (5, 6, "C3"), (1, 2, "C4"), (6, 7, "C5")]
    mentions = gold(make_reference(spans=spans), predicted)
    assert [(m.start, m.end, m.concept_id) for m in mentions] == [
        (1, 5, "C1"),
        (6, 7, "C2"),
        (6, 7, "C3"),
        (1, 4, "C4"),
        (7, 8, "C5"),
    ]
    # The text is the reference's.
    assert [m.text for m in mentions][1:3] == ["heart attack", "attack"]


def test_as_many_tokens_but_other_ones_are_aligned_too():
    predicted = make_doc(
        ["An", "anti-", "inflammatory", "drug", "for", "heart attack", "."],
        [True, False, True, True, True, True, False],
    )
    (mention,) = gold(make_reference([(4, 6, "C2")]), predicted)
    assert (mention.start, mention.end) == (5, 6)


def test_mentions_without_a_token_in_the_predicted_document_are_left_out():
    # Only white space may differ between the two texts.
    reference = make_doc(["heart", " \n ", "attack"], [False, False, False])
    spans = [(1, 2, "C1"), (0, 3, "C2")]
    reference.spans["mentions"] = [Span(reference, *ends, "X", kb_id=c) for *ends, c in spans]
    mentions = gold(reference, make_doc(["heart", "attack"]))
    assert [(m.start, m.end, m.concept_id) for m in mentions] == [(0, 2, "C2")]


def test_documents_without_mentions_or_tokens():
    assert gold(make_reference()) == []
    empty = make_doc([])
    assert gold_mentions(Example(empty, empty.copy())) == []


@given(st.data())
def test_any_split_of_the_words_is_aligned_by_characters(data):
    """Alignment against character offsets: the tokens that a mention touches."""
    text = "abcdefghij"

    def draw_doc():
        cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1))))
        words = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return make_doc(words, [False] * len(words))

    reference, predicted = draw_doc(), draw_doc()
    start = data.draw(st.integers(0, len(reference) - 1))
    end = data.draw(st.integers(start + 1, len(reference)))
    span = Span(reference, start, end, "X", kb_id="C1")
    reference.spans["mentions"] = [span]
    (mention,) = gold_mentions(Example(predicted, reference))
    touched = [
        token.i
        for token in predicted
        if token.idx < span.end_char and token.idx + len(token) > span.start_char
    ]
    assert (mention.start, mention.end) == (touched[0], touched[-1] + 1)
