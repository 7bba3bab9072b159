"""What stands for an abbreviation, by scispaCy's real detector."""

import pickle

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.tokens.underscore import Underscore
from spacy.vocab import Vocab

from spacy_metric_el.encoding.long_forms import long_form, long_forms, short_forms
from spacy_metric_el.kb import Entity

from ..util import LINKER, VOCABULARY, make_example, make_kb, make_nlp

# scispaCy's own component gives this warning for a document without abbreviations.
pytestmark = pytest.mark.filterwarnings(r"ignore:\[W036\]")

SENTENCE = (
    "High density lipoprotein (HDL) levels fell in spinal and bulbar muscular atrophy (SBMA). "
    "Serum HDL levels and SBMA were unlike TNF."
)
LIPOPROTEIN = "High density lipoprotein"
ATROPHY = "spinal and bulbar muscular atrophy"
DETECTORS = [
    ("scispacy_abbreviation_detector", {}),
    ("scispacy_abbreviation_detector", {"make_serializable": False}),
    ("abbreviation_detector", {}),
    ("abbreviation_detector", {"make_serializable": True}),
]


@pytest.fixture(params=DETECTORS, ids=lambda case: "-".join(map(str, case)))
def nlp(request):
    """A tokenizer and scispaCy's detector, by either factory and with either setting."""
    import scispacy.abbreviation  # noqa: F401  # registers scispaCy's own factory

    nlp = spacy.blank("xx")
    factory, config = request.param
    nlp.add_pipe(factory, config=config)
    return nlp


def span_of(doc, text, occurrence=0):
    start = -1
    for _ in range(occurrence + 1):
        start = doc.text.index(text, start + 1)
    return doc.char_span(start, start + len(text))


# --- forms ---


def test_the_abbreviations_of_a_document(nlp):
    doc = nlp(SENTENCE)
    assert short_forms(doc) == {"HDL": LIPOPROTEIN, "SBMA": ATROPHY}
    assert short_forms(nlp("No such thing (at all).")) == {}
    assert short_forms(nlp("")) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HDL", LIPOPROTEIN),
        ("SBMA", ATROPHY),
        ("HDL levels", f"{LIPOPROTEIN} levels"),
        ("Serum HDL levels", f"Serum {LIPOPROTEIN} levels"),
        ("HDL levels and SBMA", f"{LIPOPROTEIN} levels and {ATROPHY}"),
        ("(SBMA)", f"({ATROPHY})"),
        ("TNF", "TNF"),
        ("TNF.", "TNF."),
        ("levels", "levels"),
        (LIPOPROTEIN, LIPOPROTEIN),
    ],
)
def test_tokens_inside_a_mention_are_replaced(nlp, text, expected):
    doc = nlp(SENTENCE)
    assert long_form(span_of(doc, text), short_forms(doc)) == expected


def test_short_forms_of_several_tokens(nlp):
    doc = nlp("Nuclear factor kappaB (NF kB) was seen. NF kB was active")
    assert short_forms(doc) == {"NF kB": "Nuclear factor kappaB"}
    assert long_form(span_of(doc, "NF kB", 1), short_forms(doc)) == "Nuclear factor kappaB"


def test_only_whole_tokens_are_replaced(nlp):
    doc = nlp(SENTENCE.replace("Serum HDL levels", "Serum HDLs or hdl levels"))
    for text in ("HDLs", "hdl levels"):
        assert long_form(span_of(doc, text), short_forms(doc)) == text


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 2), (2, 4), (1, 5), (3, 5), (4, 5)])
def test_without_abbreviations_in_it_a_mention_stays_as_it_is(start, end):
    words, spaces = ["a", "\n", "cold", " ", "sun"], [True, False, True, True, True]
    span = Doc(Vocab(), words=words, spaces=spaces)[start:end]
    assert long_form(span, {"HDL": LIPOPROTEIN}) == span.text


def test_abbreviations_hold_for_their_own_document(nlp):
    docs = [nlp("HDL levels rose"), nlp(SENTENCE), nlp("SBMA or HDL")]
    spans = [(0, 0, 2), (1, 4, 5), (2, 0, 1), (1, 4, 7)]
    expected = ["HDL levels", LIPOPROTEIN, "SBMA", f"{LIPOPROTEIN}) levels"]
    assert long_forms(docs, spans) == expected
    assert long_forms(docs, []) == []


def test_without_a_detector(monkeypatch):
    monkeypatch.setattr(Underscore, "doc_extensions", {})
    doc = spacy.blank("xx")(SENTENCE)
    assert short_forms(doc) == {}
    assert long_forms([doc], [(0, 0, 3), (0, 4, 5)]) == [LIPOPROTEIN, "HDL"]
    # Another pipeline of the process has one, but this document has not been through it.
    Doc.set_extension("abbreviations", default=[])
    assert long_forms([doc], [(0, 4, 5)]) == ["HDL"]
    Doc.set_extension("abbreviations", default=None, force=True)
    assert long_forms([spacy.blank("xx")(SENTENCE)], [(0, 4, 5)]) == ["HDL"]


def test_a_short_form_without_a_long_one(nlp):
    doc = nlp(SENTENCE)
    if isinstance(doc._.abbreviations[0], Span):
        doc._.abbreviations.append(span_of(doc, "TNF"))
    else:
        doc._.abbreviations.append({"short_text": "TNF", "long_text": None})
    assert short_forms(doc) == {"HDL": LIPOPROTEIN, "SBMA": ATROPHY}


# --- in a pipeline ---


@pytest.fixture
def linking():
    """A pipeline whose vocabulary has long forms alone."""
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(entities=["SBMA", "HDL"])
    nlp.add_pipe("scispacy_abbreviation_detector", before=LINKER)
    nlp.initialize()
    entities = [Entity("C09", ATROPHY, []), Entity("C10", LIPOPROTEIN, [])]
    nlp.get_pipe(LINKER).set_kb(make_kb([*VOCABULARY, *entities]))
    return nlp


def found(doc):
    return [(short["short_start"], short["short_text"]) for short in doc._.abbreviations]


def test_abbreviations_outlast_the_linker(linking):
    doc = linking(SENTENCE)
    assert [ent.kb_id_ for ent in doc.ents] == ["C10", "C09", "C10", "C09"]
    assert sorted(found(doc)) == [(4, "HDL"), (15, "SBMA"), (19, "HDL"), (22, "SBMA")]
    assert span_of(doc, "SBMA", 1)._.long_form == ATROPHY


@pytest.mark.parametrize("by", ["bytes", "DocBin", "pickle"])
def test_abbreviations_outlast_storage(linking, by):
    doc = linking(SENTENCE)
    if by == "bytes":
        loaded = Doc(linking.vocab).from_bytes(doc.to_bytes())
    elif by == "pickle":
        loaded = pickle.loads(pickle.dumps(doc))
    else:
        (loaded,) = DocBin(docs=[doc], store_user_data=True).get_docs(linking.vocab)
    assert found(loaded) == found(doc)
    assert short_forms(loaded) == short_forms(doc) == {"HDL": LIPOPROTEIN, "SBMA": ATROPHY}


def test_copies_that_are_scored_keep_their_long_forms(linking):
    def example():
        return make_example(linking, SENTENCE, ("HDL", "C10"), ("SBMA", "C09"))

    assert linking.evaluate([example()])["el_acc"] == 1.0
    with linking.select_pipes(disable="scispacy_abbreviation_detector"):
        assert linking.evaluate([example()])["el_acc"] < 1.0


# --- among mentions ---

UNDEFINED = "Phenobarbital was given; PB and MI rose. Ischaemia came before mitral insufficiency."


def spans_of(doc, *texts):
    return [(0, span.start, span.end) for span in (span_of(doc, text) for text in texts)]


def test_a_mention_is_the_long_form_of_another():
    # scispaCy's own component leaves no trace on a document without definitions.
    nlp = spacy.blank("xx")
    nlp.add_pipe("scispacy_abbreviation_detector")
    doc = nlp(UNDEFINED)
    spans = spans_of(doc, "Phenobarbital", "PB", "MI", "Ischaemia", "mitral insufficiency")
    assert long_forms([doc], spans) == [
        "Phenobarbital",
        "Phenobarbital",
        "mitral insufficiency",
        "Ischaemia",
        "mitral insufficiency",
    ]


def test_a_definition_goes_before_a_mention(nlp):
    doc = nlp("Peanut butter was near. Phenobarbital (PB) helped. PB again.")
    spans = spans_of(doc, "Peanut butter", "PB")
    assert long_forms([doc], spans) == ["Peanut butter", "Phenobarbital"]


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("the pb and phenobarbital", ["pb", "phenobarbital"]),
        ("a PB and a PB level", ["PB", "PB level"]),
        ("PB and butter", ["PB", "butter"]),
        ("P and phenobarbital", ["P", "phenobarbital"]),
    ],
)
def test_not_every_mention_is_a_long_form(nlp, text, mentions):
    doc = nlp(text)
    assert long_forms([doc], spans_of(doc, *mentions)) == mentions


def test_without_a_detector_mentions_stay_as_they_are():
    doc = spacy.blank("xx")(UNDEFINED)
    assert long_forms([doc], spans_of(doc, "Phenobarbital", "PB")) == ["Phenobarbital", "PB"]


# --- in brackets ---


def forms_of(text, *mentions):
    nlp = spacy.blank("xx")
    nlp.add_pipe("scispacy_abbreviation_detector")
    doc = nlp(text)
    return dict(zip(mentions, long_forms([doc], spans_of(doc, *mentions)), strict=True))


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [
        ("We gave amrubicin ( SM-5887 ) daily", "SM-5887", "amrubicin"),
        ("We gave BN 52021 ( ginkgolide B , oral ) daily", "BN 52021", "ginkgolide B"),
        ("We gave tin [ Q ; pure ] daily", "Q", "tin"),
    ],
)
def test_a_code_in_brackets_stands_for_the_name_beside_it(text, code, name):
    assert forms_of(text, name, code) == {name: name, code: name}


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("We gave amrubicin and SM-5887 daily", "amrubicin", "SM-5887"),
        ("We gave amrubicin ( SM-5887 analogues ) daily", "amrubicin", "SM-5887"),
        ("We gave amrubicin ( fever ) daily", "amrubicin", "fever"),
        ("We gave SM-5887 ( MK-801 ) daily", "SM-5887", "MK-801"),
        ("We gave SM-5887-of-long-names ( fever ) daily", "SM-5887-of-long-names", "fever"),
        ("We gave amrubicin ( as SM-5887 ) daily", "amrubicin", "SM-5887"),
    ],
)
def test_other_neighbours_keep_their_own_names(text, first, second):
    assert forms_of(text, first, second) == {first: first, second: second}


def test_the_name_in_brackets_goes_for_the_whole_document():
    doc = spacy.blank("xx")
    doc.add_pipe("scispacy_abbreviation_detector")
    doc = doc("SM-5887 helps . Amrubicin ( SM-5887 ) is safe")
    spans = [(0, 0, 1), *spans_of(doc, "Amrubicin"), (0, 5, 6)]
    assert long_forms([doc], spans) == ["Amrubicin"] * 3
