"""Saving and loading: the knowledge base carried along, or only its place."""

import shutil

import pytest
import spacy

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.pipeline import encode_kb as encode_kb_module

from ..util import LINKER, has_kb, links, make_kb, make_nlp

TEXT = "a heart attack and fever"


@pytest.fixture
def nlp(kb_folder):
    nlp = make_nlp(entities=["heart attack", "fever"], threshold=0.1, top_k=3)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


@pytest.fixture
def no_encoding(monkeypatch):
    """Let any encoding of names fail."""
    monkeypatch.setattr(encode_kb_module, "encode_kb", None)


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
