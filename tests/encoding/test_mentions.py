"""Mentions of documents to queries."""

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding.mentions import encode_mentions
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.mentions import SpanRef
from spacy_metric_el.model.encoder import encoder_input

from ..util import LINKER, make_kb, make_nlp

DETECTOR = "scispacy_abbreviation_detector"
TEXT = "Spinal and bulbar muscular atrophy ( SBMA ) is rare . Severe SBMA and a fever"
SBMA, SEVERE_SBMA, FEVER = SpanRef(0, 12, 13), SpanRef(0, 11, 13), SpanRef(0, 15, 16)


def fresh_linker(**model):
    """RETURNS (tuple): A pipeline, and its linker, that nothing was learned with."""
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(model=model)
    nlp.add_pipe(DETECTOR, before=LINKER)
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    linker.refresh_vectors()
    return nlp, linker


@pytest.fixture
def linking():
    return fresh_linker(name_context=True)


def encode(linking, spans, text=TEXT):
    nlp, linker = linking
    return encode_mentions(linker.encoder, [nlp(text)], spans, [""] * len(spans))


def test_a_mention_with_a_long_form_asks_twice(linking):
    encoded = encode(linking, [FEVER, SBMA, SEVERE_SBMA])
    assert encoded.table.written == ["fever", "SBMA", "Severe SBMA"]
    long = "Spinal and bulbar muscular atrophy"
    assert encoded.table.long == ["fever", long, f"Severe {long}"]
    assert encoded.texts == [*encoded.table.long, "SBMA", "Severe SBMA"]
    assert encoded.owners.tolist() == [0, 1, 2, 1, 2]
    assert encoded.is_long.tolist() == [True, True, True, False, False]
    assert encoded.is_written.tolist() == [True, False, False, True, True]


def test_queries_are_of_their_texts_in_the_same_context(linking):
    nlp, linker = linking
    doc = nlp(TEXT)
    encoded = encode_mentions(linker.encoder, [doc], [FEVER, SBMA], ["", ""])
    X = encoder_input([doc], [FEVER, SBMA, SBMA])
    long = "Spinal and bulbar muscular atrophy"
    expected = linker.encoder.encode(X._replace(texts=["fever", long, "SBMA"]))
    assert encoded.vectors == pytest.approx(expected, abs=1e-6)
    assert encoded.vectors[[0, 2]] == pytest.approx(linker.encode_spans([doc], [FEVER, SBMA]))
    assert np.abs(encoded.vectors[1] - encoded.vectors[2]).max() > 0.1


@pytest.mark.parametrize("name_context", [True, False])
def test_the_table_has_unit_contexts_labels_and_numbers_of_documents(name_context):
    nlp, linker = fresh_linker(name_context=name_context)
    docs = [nlp("a fever"), nlp("fever and aspirin")]
    spans = [SpanRef(0, 1, 2), SpanRef(1, 0, 1), SpanRef(1, 2, 3)]
    encoded = encode_mentions(linker.encoder, docs, spans, ["A", "", "B"], first_document=7)
    table, width = encoded.table, linker.encoder.context_width
    assert table.documents.tolist() == [7, 8, 8]
    assert table.labels == ["A", "", "B"]
    assert table.context.shape == (3, width)
    assert np.linalg.norm(table.context, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    # Queries have a context channel where names have one.
    assert encoded.vectors[:, :width].any() == name_context
    assert np.linalg.norm(encoded.vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_some_of_the_mentions_with_their_queries(linking):
    spans = [FEVER, SBMA, SEVERE_SBMA]
    encoded = encode(linking, spans)
    assert encoded.queries_of(np.asarray([1])).tolist() == [1, 3]
    for places in ([0], [1, 2], [0, 2], [0, 1, 2]):
        found = encoded.take(np.asarray(places))
        expected = encode(linking, [spans[i] for i in places])
        assert found.texts == expected.texts
        assert found.owners.tolist() == expected.owners.tolist()
        assert found.is_long.tolist() == expected.is_long.tolist()
        assert found.is_written.tolist() == expected.is_written.tolist()
        assert found.vectors == pytest.approx(expected.vectors, abs=1e-6)
        assert found.table.written == expected.table.written
        assert found.table.long == expected.table.long
        assert found.table.context == pytest.approx(expected.table.context, abs=1e-6)


def test_a_span_without_tokens(linking):
    with pytest.raises(MetricELError, match=r"^\[E009\] "):
        encode(linking, [SpanRef(0, 1, 1)])
