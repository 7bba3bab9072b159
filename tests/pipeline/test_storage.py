"""Saving and loading: the knowledge base carried along, or only its place."""

import shutil

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding import kb_rows as encode_kb_module
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity, FaissKnowledgeBase
from spacy_metric_el.kb.changes import carry_vectors

from ..util import LINKER, VOCABULARY, has_kb, links, make_kb, make_nlp

TEXT = "a heart attack and fever"


@pytest.fixture
def nlp(kb_folder):
    nlp = make_nlp(entities=["heart attack", "fever"], threshold=0.1, top_k=3)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


@pytest.fixture
def no_encoding(monkeypatch):
    """Let any encoding of names fail."""
    monkeypatch.setattr(encode_kb_module, "encode_rows", None)


def test_knowledge_base_goes_along(nlp, kb_folder, tmp_path, no_encoding):
    expected = links(nlp(TEXT))
    nlp.to_disk(tmp_path / "nlp")
    shutil.rmtree(kb_folder)
    other = spacy.load(tmp_path / "nlp")
    assert links(other(TEXT)) == expected
    assert other.get_pipe(LINKER).cfg == nlp.get_pipe(LINKER).cfg


def test_saved_into_its_own_folder_again(nlp, tmp_path, no_encoding):
    nlp.to_disk(tmp_path / "nlp")
    other = spacy.load(tmp_path / "nlp")
    other.to_disk(tmp_path / "nlp")
    assert links(spacy.load(tmp_path / "nlp")(TEXT)) == links(nlp(TEXT))


def test_only_the_place_goes_along(nlp, kb_folder, tmp_path, no_encoding):
    linker = nlp.get_pipe(LINKER)
    linker.cfg["carry_kb"] = False
    expected = links(nlp(TEXT))
    nlp.to_disk(tmp_path / "nlp")
    assert not (tmp_path / "nlp" / LINKER / "kb").exists()
    other = spacy.load(tmp_path / "nlp")
    assert other.get_pipe(LINKER).kb.path == kb_folder.resolve()
    assert links(other(TEXT)) == expected
    blank = spacy.util.load_model_from_config(nlp.config)
    assert links(blank.from_bytes(nlp.to_bytes())(TEXT)) == expected


def test_place_that_is_gone(nlp, kb_folder, tmp_path):
    nlp.get_pipe(LINKER).cfg["carry_kb"] = False
    nlp.to_disk(tmp_path / "nlp")
    shutil.rmtree(kb_folder)
    other = spacy.load(tmp_path / "nlp")
    with pytest.raises(MetricELError, match=r"^\[E010\] "):
        other(TEXT)
    other.get_pipe(LINKER).set_kb(make_kb())
    assert other(TEXT).ents[0].kb_id_ == "C01"


def test_excluded_knowledge_base(nlp, tmp_path):
    linker = nlp.get_pipe(LINKER)
    linker.to_disk(tmp_path / "linker", exclude=["kb"])
    assert not (tmp_path / "linker" / "kb").exists()
    linker.to_disk(tmp_path / "linker")
    assert (tmp_path / "linker" / "kb").is_dir()
    other = make_nlp().get_pipe(LINKER)
    other.from_disk(tmp_path / "linker", exclude=["kb", "vocab"])
    assert not has_kb(other)
    data = linker.to_bytes(exclude=["kb", "vocab"])
    assert len(data) < len(linker.to_bytes(exclude=["vocab"]))
    assert not has_kb(make_nlp().get_pipe(LINKER).from_bytes(data, exclude=["vocab"]))


@pytest.mark.parametrize("save", ["to_disk", "to_bytes"])
def test_an_excluded_knowledge_base_is_not_encoded(nlp, tmp_path, monkeypatch, save):
    linker = nlp.get_pipe(LINKER)
    surface = linker.model.get_ref("head").get_ref("surface")
    surface.set_param("E", 1.1 * surface.get_param("E"))
    before, encode, encoded = linker.vectors, encode_kb_module.encode_rows, []
    monkeypatch.setattr(
        encode_kb_module,
        "encode_rows",
        lambda *args, **kwargs: encoded.append(args[2]) or encode(*args, **kwargs),
    )
    args = [tmp_path / "linker"] if save == "to_disk" else []
    getattr(linker, save)(*args, exclude=["kb", "vocab"])
    assert encoded == []
    assert linker.vectors is before
    getattr(linker, save)(*args, exclude=["vocab"])
    assert encoded == [linker.fingerprint()]


def test_what_was_learned_of_the_radius_is_kept(nlp, tmp_path):
    loss = nlp.get_pipe(LINKER).loss
    loss.radius.update(0.2)
    assert loss.radius.radius != make_nlp().get_pipe(LINKER).loss.radius.radius
    nlp.to_disk(tmp_path / "nlp")
    radius = spacy.load(tmp_path / "nlp").get_pipe(LINKER).loss.radius
    assert radius.radius == pytest.approx(loss.radius.radius)
    assert radius.step == loss.radius.step == 1
    other = make_nlp().from_bytes(
        nlp.to_bytes(exclude=["vocab"]), exclude=["vocab", "entity_ruler"]
    )
    assert other.get_pipe(LINKER).loss.radius.radius == pytest.approx(loss.radius.radius)


def test_linker_without_a_loss_is_saved(nlp, tmp_path):
    linker = nlp.get_pipe(LINKER)
    linker.loss = None
    nlp.to_disk(tmp_path / "nlp")
    assert links(spacy.load(tmp_path / "nlp")(TEXT)) == links(nlp(TEXT))


def test_not_initialized_linker_is_saved(tmp_path):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "nlp")
    linker = spacy.load(tmp_path / "nlp").get_pipe(LINKER)
    assert not has_kb(linker)
    assert not linker.encoder.is_initialized()


def test_a_loaded_pipeline_takes_another_vocabulary(nlp, tmp_path):
    nlp.to_disk(tmp_path / "nlp")
    other = spacy.load(tmp_path / "nlp")
    other.get_pipe(LINKER).set_kb(make_kb(list(make_kb().entities())[7:]))
    assert [ent.kb_id_ for ent in other(TEXT).ents] == ["C08", "C08"]


# --- what a fresh encoder was fitted to ---


@pytest.fixture
def no_counting(monkeypatch):
    """Let any count of n-grams fail."""

    def never(model, texts):
        raise AssertionError("n-grams were counted again")

    monkeypatch.setattr(encode_kb_module, "fit_weights", never)


def fresh(kb_folder, name_context=True):
    nlp = make_nlp(entities=["heart attack", "fever"], model={"name_context": name_context})
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


@pytest.mark.parametrize("name_context", [True, False])
def test_fresh_encoders_take_what_was_counted(kb_folder, request, name_context):
    first = fresh(kb_folder, name_context)
    request.getfixturevalue("no_counting")
    request.getfixturevalue("no_encoding")
    second = fresh(kb_folder, name_context)
    assert links(second(TEXT)) == links(first(TEXT))
    weights = [
        nlp.get_pipe(LINKER).model.get_ref("head").get_ref("surface").get_param("w")
        for nlp in (first, second)
    ]
    np.testing.assert_array_equal(*weights)
    assert weights[0].std() > 0


def test_other_encoders_count_for_themselves(kb_folder, request):
    fresh(kb_folder)
    request.getfixturevalue("no_counting")
    nlp = make_nlp(model={"seed": 7})
    with pytest.raises(AssertionError, match="counted again"):
        nlp.get_pipe(LINKER).load_kb(kb_folder)


def test_other_names_are_counted(kb_folder, request):
    fresh(kb_folder)
    kb = FaissKnowledgeBase.from_disk(kb_folder)
    assert kb.vectors.fit is not None
    more = make_kb([*VOCABULARY, Entity("C50", "zorblax fever", [])])
    more.vectors = carry_vectors([kb], more.records)
    assert more.vectors.fit is None
    more.to_disk(kb_folder)
    request.getfixturevalue("no_counting")
    with pytest.raises(AssertionError, match="counted again"):
        fresh(kb_folder)


def test_vectors_of_a_trained_encoder_have_no_counts(kb_folder):
    nlp = fresh(kb_folder)
    linker = nlp.get_pipe(LINKER)
    assert linker.vectors.fit is not None
    surface = linker.model.get_ref("head").get_ref("surface")
    surface.set_param("E", 1.1 * surface.get_param("E"))
    linker.refresh_vectors()
    assert linker.vectors.fit is None
