"""Which components documents have to go through before a linker."""

import pytest
from spacy.language import Language

from spacy_metric_el.encoding.feeding import feed, feeding_pipes

from ..util import LINKER, make_nlp


@Language.component("metric_el_test_upper")
def upper(doc):
    doc.user_data["upper"] = doc.text.upper()
    return doc


def names(nlp):
    pipes = feeding_pipes(nlp, nlp.get_pipe(LINKER).model)
    return [name for name, pipe in nlp.pipeline if any(pipe is found for found in pipes)]


@pytest.fixture
def listener():
    nlp = make_nlp("listener", ner=True)
    nlp.add_pipe("metric_el_test_upper", first=True)
    nlp.initialize()
    return nlp


def test_an_encoder_of_its_own_needs_nothing():
    assert names(make_nlp(entities=["cold"])) == []


def test_all_up_to_what_the_linker_listens_to(listener):
    assert names(listener) == ["metric_el_test_upper", "tok2vec"]


def test_disabled_components_are_left_out(listener):
    with listener.select_pipes(disable="metric_el_test_upper"):
        assert names(listener) == ["tok2vec"]
    with listener.select_pipes(disable="tok2vec"):
        assert names(listener) == []


def test_documents_go_through_functions_and_components(listener):
    docs = [listener.make_doc("A cold"), listener.make_doc("")]
    pipes = feeding_pipes(listener, listener.get_pipe(LINKER).model)
    fed = feed(pipes, docs)
    assert fed[0] is docs[0]
    assert docs[0].tensor.shape == (2, 16)
    assert docs[0].user_data["upper"] == "A COLD"
    assert feed(pipes, []) == []


@pytest.mark.parametrize("factory", ["scispacy_abbreviation_detector", "abbreviation_detector"])
@pytest.mark.parametrize("place", [{"first": True}, {"before": LINKER}, {"last": True}])
@pytest.mark.parametrize("kind", ["own", "listener"])
def test_an_abbreviation_detector_feeds_wherever_it_stands(kind, place, factory):
    import scispacy.abbreviation  # noqa: F401  # registers scispaCy's own factory

    nlp = make_nlp(kind, ner=kind == "listener", entities=["cold"])
    upstream = ["tok2vec"] if kind == "listener" else []
    assert names(nlp) == upstream
    nlp.add_pipe(factory, name="abbreviations", **place)
    expected = [name for name in nlp.pipe_names if name in (*upstream, "abbreviations")]
    assert names(nlp) == expected
    nlp.rename_pipe("abbreviations", "short_forms")
    assert len(names(nlp)) == len(expected)
    with nlp.select_pipes(disable="short_forms"):
        assert names(nlp) == upstream


def test_documents_that_are_fed_have_their_abbreviations():
    nlp = make_nlp()
    nlp.add_pipe("scispacy_abbreviation_detector")
    pipes = feeding_pipes(nlp, nlp.get_pipe(LINKER).model)
    # Twice, as a corpus in memory is when a ranker is fitted again.
    for _ in range(2):
        (doc,) = docs = feed(pipes, [nlp.make_doc("A common cold (CC) and no CC")])
        feed(pipes, docs)
        assert [short["long_text"] for short in doc._.abbreviations] == ["common cold"] * 2
