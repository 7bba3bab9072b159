"""Names without a context channel (`name_context = false`): found by surface alone."""

import numpy as np
import pytest
import spacy

from ..util import (
    LINKER,
    NICKNAME_OF,
    NICKNAMES,
    SURFACE,
    make_example,
    make_kb,
    make_nlp,
    nickname_examples,
    nickname_links,
    train,
)

WIDTH = SURFACE["context_width"]


@pytest.fixture(params=["own", "listener", "transformer", "bfloat16"])
def nlp(request):
    has_bert = request.param in ("transformer", "bfloat16")
    bert = request.getfixturevalue("bert") if has_bert else None
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(
        request.param, bert=bert, entities=list(NICKNAME_OF), model={"name_context": False}
    )
    nlp.initialize(lambda: nickname_examples(nlp))
    nlp.get_pipe(LINKER).set_kb(make_kb(NICKNAMES))
    return nlp


def test_a_name_has_no_context(nlp):
    vectors = nlp.get_pipe(LINKER).encode_names(["heart attack", "fracture of tibia"])
    assert not vectors[:, :WIDTH].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_an_exact_name_has_similarity_one(nlp):
    linker = nlp.get_pipe(LINKER)
    example = make_example(nlp, "He had a sunburn today", ("sunburn", "N3"))
    doc = nlp(example.reference.copy())
    (candidates,) = linker.predict_spans([doc], [(0, 3, 4)])
    assert candidates[0][0] == "N3"
    assert candidates[0][1] == pytest.approx(1.0, abs=1e-3)


def test_training_the_upstream_leaves_the_vectors_valid(nlp):
    linker = nlp.get_pipe(LINKER)
    linker.refresh_vectors()
    own, before = linker.fingerprint(), linker.vectors
    projection = linker.model.get_ref("head").get_ref("projection")
    projection.set_param("W", projection.get_param("W") + 1.0)
    linker.refresh_vectors()
    assert linker.fingerprint() == own
    assert linker.vectors is before
    surface = linker.model.get_ref("head").get_ref("surface")
    surface.set_param("E", surface.get_param("E") * 1.5 + 0.1)
    linker.refresh_vectors()
    assert linker.fingerprint() != own
    assert linker.vectors is not before


def test_nicknames_are_learned_and_survive_a_round_trip(nlp, tmp_path):
    steps = 40
    train(nlp, nickname_examples(nlp), steps, learn_rate=0.02)
    assert nickname_links(nlp) == NICKNAME_OF
    nlp.to_disk(tmp_path / "pipeline")
    assert nickname_links(spacy.load(tmp_path / "pipeline")) == NICKNAME_OF


def test_many_names_are_searched_by_their_ngrams(nlp, monkeypatch, tmp_path):
    linker = nlp.get_pipe(LINKER)
    doc = nlp(make_example(nlp, "He had a sunburn today", ("sunburn", "N3")).reference.copy())
    spans = [(0, 3, 4), (0, 2, 4), (0, 3, 4), (0, 4, 5)]
    expected = linker.predict_spans([doc], spans, top_k=5)
    monkeypatch.setattr("spacy_metric_el.kb.index.faiss_index.EXACT_ROWS", 1)
    monkeypatch.setattr("spacy_metric_el.kb.index.faiss_index.SURFACE_ROWS", 2)
    linker.set_kb(make_kb(NICKNAMES))
    found = linker.predict_spans([doc], spans, top_k=5)
    assert linker.vectors.postings is not None
    assert linker.vectors.factory == "SQ8"
    for ours, theirs in zip(found, expected, strict=True):
        assert [pair for pair in theirs if pair[0] in dict(ours)] == [
            (cid, pytest.approx(score, abs=0.02)) for cid, score in ours
        ]
    assert [pairs[0][0] for pairs in found[:3]] == ["N3"] * 3
    # No name shares an n-gram with "today": it is like none.
    assert found[3] == []
    linker.kb.to_disk(tmp_path / "kb")
    linker.load_kb(tmp_path / "kb", nlp=nlp)
    assert linker.predict_spans([doc], spans, top_k=5) == found
    # Other weights make other vectors of the same texts.
    before = linker.vectors
    surface = linker.model.get_ref("head").get_ref("surface")
    surface.set_param("E", surface.get_param("E") * 1.5 + 0.1)
    linker.refresh_vectors()
    assert linker.vectors is not before
    assert linker.vectors.postings is before.postings
