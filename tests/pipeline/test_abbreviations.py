"""scispaCy's detector under a name that needs no import of scispaCy."""

import pickle
import subprocess
import sys
import warnings

import pytest
import spacy
from spacy.tokens import Doc, Span

from ..util import LINKER, links, make_kb, make_nlp

DETECTOR = "scispacy_abbreviation_detector"
SENTENCE = "A heart attack (HA) with high density lipoprotein (HDL). An HA and HDL levels."
TEXTS = [SENTENCE, "no such thing", "", "An acute heart attack (AHA) and an HA", "HDL (high)"] * 2

FRESH = """
import sys
import spacy
nlp = spacy.blank("xx")
assert "spacy_metric_el.pipeline.abbreviations" in sys.modules
assert not any(name.startswith("scispacy") for name in sys.modules)
nlp.add_pipe("scispacy_abbreviation_detector")
doc = nlp(sys.argv[1])
assert len(doc._.abbreviations) == 4, doc._.abbreviations
# scispaCy registers a factory of its own, and sets the extensions again.
import scispacy.abbreviation
nlp.add_pipe("abbreviation_detector", config={"make_serializable": True})
assert nlp.get_pipe_meta("abbreviation_detector").factory == "abbreviation_detector"
other = spacy.blank("xx")
other.add_pipe("abbreviation_detector")
spans = other(sys.argv[1])._.abbreviations
assert sorted(span.text for span in spans) == ["HA", "HA", "HDL", "HDL"], spans
other.add_pipe("scispacy_abbreviation_detector", name="again")
print(spacy.blank("xx").add_pipe("scispacy_abbreviation_detector"))
"""


def found(doc):
    """RETURNS (list[tuple]): First token, short form, long form of each abbreviation."""
    return sorted(
        (short["short_start"], short["short_text"], short["long_text"])
        if isinstance(short, dict)
        else (short.start, short.text, short._.long_form.text)
        for short in doc._.abbreviations
    )


EXPECTED = [
    (4, "HA", "heart attack"),
    (11, "HDL", "high density lipoprotein"),
    (15, "HA", "heart attack"),
    (17, "HDL", "high density lipoprotein"),
]


def make(**config):
    nlp = spacy.blank("xx")
    nlp.add_pipe(DETECTOR, config=config)
    return nlp


def test_a_fresh_process_needs_no_import_and_scispacy_may_come_later():
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", FRESH, SENTENCE],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "QuietAbbreviationDetector" in result.stdout, result.stderr[-3000:]


@pytest.mark.parametrize("make_serializable", [True, False])
def test_what_is_found(make_serializable):
    doc = make(make_serializable=make_serializable)(SENTENCE)
    assert found(doc) == EXPECTED
    kind = dict if make_serializable else Span
    assert all(type(short) is kind for short in doc._.abbreviations)
    long = doc[15:16]._.long_form
    assert type(long) is (str if make_serializable else Span)
    assert str(long) == "heart attack"


@pytest.mark.parametrize("make_serializable", [True, False])
def test_a_document_may_come_twice(make_serializable):
    nlp = make(make_serializable=make_serializable)
    doc = nlp(SENTENCE)
    assert found(nlp(doc)) == EXPECTED
    detector = nlp.get_pipe(DETECTOR)
    assert found(detector(detector(doc))) == EXPECTED


def test_documents_without_abbreviations_give_no_warning():
    nlp = make()
    # Warnings are errors here, and this is the one that scispaCy's detector gives.
    with pytest.warns(UserWarning, match=r"\[W036\]"):
        nlp.get_pipe(DETECTOR).detector(nlp.make_doc("no such thing"))
    filters = list(warnings.filters)
    for text in ("no such thing", "", "a list (of words) and (more)"):
        assert nlp(text)._.abbreviations == []
    # Those of others are not silenced.
    assert warnings.filters == filters


def test_documents_do_not_share_what_was_found():
    nlp = make()
    first, second = nlp.pipe([SENTENCE, "An HA and HDL levels"])
    assert found(first) == EXPECTED
    assert found(second) == []


def test_the_component_says_what_it_assigns():
    nlp = make()
    assert nlp.get_pipe_meta(DETECTOR).assigns == ["doc._.abbreviations", "span._.long_form"]
    assert not any(nlp.analyze_pipes()["problems"].values())


# --- with a linker ---


@pytest.fixture
def nlp():
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(entities=["HA", "HDL", "heart attack"])
    nlp.add_pipe(DETECTOR, before=LINKER)
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb())
    nlp(SENTENCE)
    return nlp


def test_two_processes_find_what_one_does(nlp, alarm):
    expected = list(nlp.pipe(TEXTS))
    assert sum(len(found(doc)) for doc in expected) == 10
    assert expected[0].ents[1].kb_id_ == "C01"
    docs = list(nlp.pipe(TEXTS, n_process=2, batch_size=3))
    assert [found(doc) for doc in docs] == [found(doc) for doc in expected]
    assert links(docs) == links(expected)


@pytest.mark.parametrize("make_serializable", [True, False])
def test_a_saved_pipeline_has_the_detector(nlp, tmp_path, make_serializable):
    if not make_serializable:
        nlp.replace_pipe(DETECTOR, DETECTOR, config={"make_serializable": False})
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    assert loaded.pipe_names == nlp.pipe_names
    doc, expected = loaded(SENTENCE), nlp(SENTENCE)
    assert found(doc) == found(expected) == EXPECTED
    assert type(doc._.abbreviations[0]) is (dict if make_serializable else Span)
    assert links(doc) == links(expected)
    other = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert links(other(SENTENCE)) == links(expected)
    assert links(pickle.loads(pickle.dumps(loaded))(SENTENCE)) == links(expected)


def test_documents_can_be_written(nlp):
    doc = nlp(SENTENCE)
    assert found(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == EXPECTED
    nlp.replace_pipe(DETECTOR, DETECTOR, config={"make_serializable": False})
    with pytest.raises(TypeError, match="Span"):
        nlp(SENTENCE).to_bytes()
