"""The vectors that a linker holds of a knowledge base: whose they are, and when they are made anew."""

import logging

import numpy as np
import pytest

from spacy_metric_el.encoding import kb_rows, linker_encoder
from spacy_metric_el.kb import FaissKnowledgeBase

from ..util import LINKER, links, make_kb, make_nlp

TEXT = "a heart attack and a fever"


@pytest.fixture
def encoded(monkeypatch):
    """RETURNS (list[str]): Fingerprints of the encoders that encoded all names, as they do."""
    made = []
    encode = kb_rows.encode_rows

    def note(encoder, kb, fingerprint, **kwargs):
        made.append(fingerprint)
        return encode(encoder, kb, fingerprint, **kwargs)

    monkeypatch.setattr(kb_rows, "encode_rows", note)
    return made


def linker_of(kb, **settings):
    nlp = make_nlp(entities=["heart attack", "fever"], **settings)
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(kb)
    return nlp


def test_two_linkers_on_one_knowledge_base_leave_each_other_alone(encoded):
    kb = make_kb()
    pipelines = [linker_of(kb, model={"seed": seed}) for seed in (0, 1)]
    found = [[links(nlp(TEXT)) for _ in range(3)] for nlp in pipelines]
    assert len(encoded) == len(set(encoded)) == 2
    for _ in range(3):
        for nlp, expected in zip(pipelines, found, strict=True):
            assert links(nlp(TEXT)) == expected[0]
    assert len(encoded) == 2
    assert kb.vectors is None
    vectors = [nlp.get_pipe(LINKER).vectors for nlp in pipelines]
    assert vectors[0].fingerprint != vectors[1].fingerprint


@pytest.mark.parametrize("name_context", [False, True])
@pytest.mark.parametrize("place", [0, 123, -1])
def test_a_change_of_any_one_weight_is_noticed(encoded, name_context, place):
    nlp = linker_of(make_kb(), model={"name_context": name_context})
    nlp(TEXT)
    models = nlp.get_pipe(LINKER).encoder.models()
    parameters = [
        (node, name)
        for model in models
        for node in model.walk()
        for name in node.param_names
        if node.has_param(name)
    ]
    assert parameters
    for number, (node, name) in enumerate(parameters, 2):
        values = node.get_param(name).copy()
        flat = values.reshape(-1)
        where = place if abs(place) < len(flat) else 0
        flat[where] = np.nextafter(flat[where], np.float32(9.0))
        node.set_param(name, values)
        nlp(TEXT)
        assert len(encoded) == number, (node.name, name)


def test_vectors_of_a_folder_are_taken_as_they_are(encoded, tmp_path):
    make_kb().to_disk(tmp_path / "kb")
    first = make_nlp(entities=["fever"])
    first.get_pipe(LINKER).load_kb(tmp_path / "kb")
    second = make_nlp(entities=["fever"])
    second.get_pipe(LINKER).load_kb(tmp_path / "kb")
    assert len(encoded) == 1
    assert links(first(TEXT)) == links(second(TEXT))


def test_vectors_wait_in_the_folder_that_they_are_for(tmp_path, monkeypatch):
    waiting, buffer = [], kb_rows.row_buffer
    monkeypatch.setattr(
        kb_rows, "row_buffer", lambda *args: waiting.append(args[2]) or buffer(*args)
    )
    make_kb().to_disk(tmp_path / "kb")
    nlp = make_nlp()
    nlp.get_pipe(LINKER).load_kb(tmp_path / "kb")
    linker_of(make_kb()).get_pipe(LINKER).refresh_vectors()
    monkeypatch.setattr(linker_encoder.os, "access", lambda path, mode: False)
    linker_of(FaissKnowledgeBase.from_disk(tmp_path / "kb"), model={"seed": 1})(TEXT)
    assert waiting == [tmp_path / "kb", None, None]


def test_many_names_are_warned_of_once(monkeypatch, caplog):
    """At the evaluations of a training everybody expects that names are encoded again."""
    monkeypatch.setattr(linker_encoder, "WARNED_FROM", 3)
    nlp = linker_of(make_kb())
    surface = nlp.get_pipe(LINKER).model.get_ref("head").get_ref("surface")
    levels = []
    for _ in range(3):
        with caplog.at_level(logging.INFO, logger="spacy_metric_el"):
            caplog.clear()
            nlp(TEXT)
        levels.append([r.levelno for r in caplog.records if "[W002]" in r.getMessage()])
        surface.set_param("E", surface.get_param("E") * 1.5)
    assert levels == [[logging.WARNING], [logging.INFO], [logging.INFO]]
