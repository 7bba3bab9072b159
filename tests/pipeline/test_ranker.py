"""Where a ranker is kept: for the knowledge base that is set, and in what is saved."""

import pickle

import pytest
import spacy
import srsly

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity
from spacy_metric_el.ranking.ranker import CandidateRanker

from ..namesakes import accuracy, by_context, by_document, candidates, counted_kb, fitted, ready
from ..util import LINKER, VOCABULARY, make_kb, make_nlp


@pytest.fixture
def learned():
    """A linker that tells namesakes apart by their document, with its corpus."""
    return fitted(by_document)


def raises(code):
    return pytest.raises(MetricELError, match=rf"^\[{code}\] ")


def new_examples(nlp):
    return by_document(nlp, start=7, repeats=1)


# --- the ranker of a linker ---


def test_without_a_ranker():
    linker = make_nlp().get_pipe(LINKER)
    linker.set_kb(make_kb())
    assert not linker.has_ranker
    assert linker.get_ranker() is None


def test_nothing_to_fit_to():
    nlp = make_nlp()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    with pytest.raises(MetricELError, match=r"^\[E014\]"):
        linker.fit_ranker(nlp)


def test_one_ranker_for_each_knowledge_base(learned):
    _, linker, _ = learned
    ranker, kb, other = linker.get_ranker(), linker.kb, make_kb()
    assert linker.get_ranker() is ranker
    linker.set_kb(other)
    assert linker.get_ranker().records is other.records
    assert linker.get_ranker() is linker.get_ranker()
    linker.set_kb(kb)
    assert linker.get_ranker().records is kb.records
    linker.set_ranker(None)
    assert linker.get_ranker() is None
    assert not linker.has_ranker


def test_a_fresh_encoder_has_no_ranker(learned):
    nlp, linker, examples = learned
    nlp.initialize(lambda: examples)
    assert linker.learned is None
    assert accuracy(nlp, new_examples(nlp)) < 1.0
    linker.fit_ranker(nlp)
    assert accuracy(nlp, new_examples(nlp)) == 1.0


# --- other knowledge bases ---


def test_what_was_learned_is_kept_by_concept_id(thorough):
    nlp, linker, examples = fitted(by_context)
    new = by_context(nlp, start=70, repeats=1)
    # Concepts before, between and behind those that were learned: all records have other numbers.
    ids = [entity.concept_id for entity in VOCABULARY]
    others = [Entity(cid, f"zorblax {cid}", []) for cid in ("A1", *(f"{cid}x" for cid in ids))]
    old = linker.kb
    linker.set_kb(counted_kb(examples, [*others, *VOCABULARY]))
    records = linker.kb.records
    assert records.entity_index("C03") != old.records.entity_index("C03")
    assert accuracy(nlp, new) == 1.0
    ranker = linker.get_ranker()
    assert {records.concept_id(e) for e in ranker.prototypes.entities} == {"C03", "C04"}
    assert ranker.prototypes.sizes.sum() == len(examples)


def test_concepts_that_a_knowledge_base_lacks_are_not_forgotten(thorough):
    nlp, linker, examples = fitted(by_context)
    new = by_context(nlp, start=70, repeats=1)
    full = linker.kb
    expected = candidates(nlp, new)
    linker.set_kb(make_kb([entity for entity in VOCABULARY if entity.concept_id != "C04"]))
    assert {pairs[0][0] for pairs in candidates(nlp, new)} == {"C03"}
    saved = pickle.loads(pickle.dumps(nlp))
    linker.set_kb(make_kb(VOCABULARY[4:]))
    assert all(pairs for pairs in candidates(nlp, new))
    for pipeline in (nlp, saved):
        pipeline.get_pipe(LINKER).set_kb(counted_kb(examples))
        assert [pairs[0][0] for pairs in candidates(pipeline, new)] == ["C03", "C04"]
    linker.set_kb(full)
    assert candidates(nlp, new) == expected


# --- storage ---


@pytest.mark.parametrize("carry_kb", [True, False])
def test_saved_pipelines_predict_the_same(tmp_path, carry_kb):
    nlp, linker, examples = ready(by_document, carry_kb=carry_kb)
    linker.kb.to_disk(tmp_path / "kb")
    linker.load_kb(tmp_path / "kb", progress=False)
    linker.fit_ranker(nlp)
    expected = candidates(nlp, examples)
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    assert candidates(loaded, examples) == expected
    blank = spacy.util.load_model_from_config(nlp.config)
    assert candidates(blank.from_bytes(nlp.to_bytes()), examples) == expected
    assert candidates(pickle.loads(pickle.dumps(nlp)), examples) == expected
    # What was saved once is saved again, though nothing was linked in between.
    spacy.load(tmp_path / "nlp").to_disk(tmp_path / "again")
    assert candidates(spacy.load(tmp_path / "again"), examples) == expected


def test_a_linker_alone_is_saved_and_takes_what_it_is_given(learned, tmp_path):
    _, linker, _ = learned
    state = linker.learned
    linker.to_disk(tmp_path / "with")
    with_ranker = linker.to_bytes()
    assert (tmp_path / "with" / "ranker").is_file()
    _, bare, _ = ready(by_document)
    bare.to_disk(tmp_path / "without")
    without_ranker = bare.to_bytes()
    assert not (tmp_path / "without" / "ranker").exists()
    for full, empty, load in (
        (tmp_path / "with", tmp_path / "without", bare.from_disk),
        (with_ranker, without_ranker, bare.from_bytes),
    ):
        load(full)
        assert bare.learned["concept_ids"] == state["concept_ids"]
        # No ranker of another encoder stays behind, unless it is asked to.
        load(empty, exclude=["ranker"])
        assert bare.learned is not None
        load(empty)
        assert bare.learned is None
        load(full, exclude=["ranker"])
        assert bare.learned is None


def test_an_excluded_ranker_is_not_written(learned, tmp_path):
    _, linker, _ = learned
    linker.to_disk(tmp_path / "linker", exclude=["ranker"])
    assert not (tmp_path / "linker" / "ranker").exists()
    data = srsly.msgpack_loads(linker.to_bytes(exclude=["ranker"]))
    assert "ranker" not in data
    assert "ranker" in srsly.msgpack_loads(linker.to_bytes())


def test_a_ranker_of_another_version(learned, tmp_path):
    """The pipeline can be loaded, and be given another ranker; nothing is linked till then."""
    nlp, linker, examples = learned
    linker.set_learned({**linker.learned, "features": ["similarity"]})
    nlp.to_disk(tmp_path / "nlp")
    for other in (spacy.load(tmp_path / "nlp"), pickle.loads(pickle.dumps(nlp))):
        with raises("E013"):
            candidates(other, examples)
        other.get_pipe(LINKER).fit_ranker(other, lambda: examples)
        assert accuracy(other, new_examples(other)) == 1.0


def test_the_state_is_what_a_ranker_is_made_of(learned):
    nlp, linker, examples = learned
    expected = candidates(nlp, examples)
    ranker = CandidateRanker.from_dict(linker.learned, linker.kb.records)
    linker.set_ranker(ranker)
    assert linker.get_ranker() is ranker
    assert candidates(nlp, examples) == expected
    linker.set_learned({**linker.learned, "sizes": linker.learned["sizes"] + 1})
    found = linker.get_ranker().prototypes.sizes
    assert found.tolist() == (ranker.prototypes.sizes + 1).tolist()
