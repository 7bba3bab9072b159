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


@pytest.fixture(params=["own", "listener", "transformer"])
def nlp(request):
    bert = request.getfixturevalue("bert") if request.param == "transformer" else None
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
    own, before = linker.fingerprint(), linker.kb.vectors
    projection = linker.model.get_ref("head").get_ref("projection")
    projection.set_param("W", projection.get_param("W") + 1.0)
    linker.refresh_vectors()
    assert linker.fingerprint() == own
    assert linker.kb.vectors is before
    surface = linker.model.get_ref("head").get_ref("surface")
    surface.set_param("E", surface.get_param("E") * 1.5 + 0.1)
    linker.refresh_vectors()
    assert linker.fingerprint() != own
    assert linker.kb.vectors is not before


def test_nicknames_are_learned_and_survive_a_round_trip(nlp, tmp_path):
    steps = 40
    train(nlp, nickname_examples(nlp), steps, learn_rate=0.02)
    assert nickname_links(nlp) == NICKNAME_OF
    nlp.to_disk(tmp_path / "pipeline")
    assert nickname_links(spacy.load(tmp_path / "pipeline")) == NICKNAME_OF
