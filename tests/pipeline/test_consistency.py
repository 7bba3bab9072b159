"""Vectors, weights and settings that must not drift apart without a word."""

import shutil

import numpy as np
import pytest
import spacy
from spacy.tokens import Span

from spacy_metric_el.errors import MetricELWarning
from spacy_metric_el.kb import Entity
from spacy_metric_el.training.losses import PrototypeTriplet

from ..util import LINKER, VOCABULARY, make_example, make_kb, make_nlp


def ready(kind="own", kb=None, **config):
    nlp = make_nlp(kind, entities=["heart attack", "cold", "fever"], **config)
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(kb if kb is not None else make_kb())
    return nlp, linker


def links(nlp):
    return [(e.text, e.kb_id_, e._.kb_ents) for e in nlp("A heart attack and fever").ents]


def test_linkers_that_share_a_knowledge_base_keep_their_own_vectors():
    kb = make_kb()
    first, _ = ready(kb=kb)
    second, _ = ready(kb=kb, model={"seed": 7})
    before = links(first)
    links(second)
    assert links(first) == before


def test_encoder_initialized_before_the_knowledge_base_is_fitted(kb_folder):
    nlp = make_nlp("listener")
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    weights = linker.model.get_ref("head").get_ref("surface")
    assert np.std(weights.get_param("w")) == 0
    linker.load_kb(kb_folder)
    assert np.std(weights.get_param("w")) > 0


def test_trained_encoder_is_not_fitted_again():
    nlp, linker = ready()
    nlp.update([make_example(nlp, "a cold", ("cold", "C03"))], sgd=nlp.create_optimizer())
    trained = linker.model.to_bytes()
    linker.set_kb(make_kb(VOCABULARY[:4]))
    nlp("a cold")
    assert linker.model.to_bytes() == trained


def test_overrides_at_load_time_win_over_saved_changes(tmp_path):
    nlp, linker = ready(top_k=3)
    links(nlp)
    linker.cfg["prior_weight"] = 0.5
    linker.cfg["top_k"] = 2
    nlp.to_disk(tmp_path / "nlp")
    settings = spacy.load(tmp_path / "nlp").get_pipe(LINKER).cfg
    assert (settings["prior_weight"], settings["top_k"]) == (0.5, 2)
    overrides = {"components": {LINKER: {"top_k": 1, "threshold": 0.9}}}
    settings = spacy.load(tmp_path / "nlp", config=overrides).get_pipe(LINKER).cfg
    assert (settings["prior_weight"], settings["top_k"], settings["threshold"]) == (0.5, 1, 0.9)


def test_as_many_candidates_as_asked_for():
    many = [Entity(f"X{i:02}", f"cold {i}", [f"cold {i} {j}" for j in range(9)]) for i in range(30)]
    nlp, linker = ready(kb=make_kb(many), search_rows=10)
    found = linker.predict([nlp("a cold")], top_k=25)
    assert len({cid for cid, _ in found[0][0]}) == 25


def test_scores_look_deeper_than_top_k():
    nlp, _ = ready(top_k=1, use_gold_ents=False)
    example = make_example(nlp, "a cold", ("cold", "C06"))
    scores = nlp.evaluate([example])
    assert scores["el_acc"] == 0
    assert scores["el_recall_at_64"] == 1


def test_generator_is_scored():
    nlp, linker = ready()
    example = make_example(nlp, "heart attack", ("heart attack", "C01"))
    assert linker.score(eg for eg in [example])["el_acc"] == 1


def test_scored_copy_keeps_norms():
    nlp, linker = ready()
    example = make_example(nlp, "a cold", ("cold", "C03"))
    example.predicted[0].norm_ = "other"
    seen = []
    linker.scorer = lambda examples, **kwargs: seen.extend(examples) or {}
    linker.score([example])
    assert seen[0].predicted[0].norm_ == "other"


def test_place_of_the_knowledge_base_survives_its_absence(tmp_path, kb_folder):
    nlp = make_nlp(entities=["fever"], carry_kb=False)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    nlp.to_disk(tmp_path / "nlp")
    away = kb_folder.with_name("away")
    shutil.move(kb_folder, away)
    kb_folder.mkdir()
    spacy.load(tmp_path / "nlp").to_disk(tmp_path / "again")
    kb_folder.rmdir()
    shutil.move(away, kb_folder)
    assert spacy.load(tmp_path / "again")("fever").ents[0].kb_id_ == "C08"


def test_knowledge_base_that_nothing_holds_is_told(tmp_path):
    nlp, _ = ready(carry_kb=False)
    with pytest.warns(MetricELWarning, match="W006"):
        nlp.to_disk(tmp_path / "nlp")


def test_carried_vectors_are_up_to_date_after_training(tmp_path):
    nlp, linker = ready()
    links(nlp)
    nlp.update([make_example(nlp, "a cold", ("cold", "C03"))], sgd=nlp.create_optimizer())
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp").get_pipe(LINKER)
    assert loaded.vectors.fingerprint == loaded.fingerprint() == linker.fingerprint()


def test_parts_of_a_composite_mention_are_no_negatives_of_it():
    nlp, linker = ready()
    batches, loss = [], PrototypeTriplet()
    linker.loss = lambda batch: batches.append(batch) or loss(batch)
    composite = make_example(nlp, "heart attack", ("heart attack", "C01"))
    span = composite.reference.ents[0]
    group = [Span(composite.reference, span.start, span.end, label="ENTITY", kb_id="C01|C08")]
    composite.reference.spans["mentions"] = group
    other = make_example(nlp, "pyrexia", ("pyrexia", "C08"))
    nlp.update([composite, other], sgd=nlp.create_optimizer())
    (batch,) = batches
    assert batch.is_negative[0].any()
    assert not (batch.is_negative[0] & batch.is_positive[1]).any()
    assert batch.is_positive[0].sum() >= batch.is_positive[1].sum()


def test_sourced_linker_follows_the_documents():
    source, linker = ready("listener")
    links(source)
    target = make_nlp("listener", model={"seed": 7}, entities=["heart attack", "fever"])
    target.remove_pipe(LINKER)
    target.initialize()
    target.add_pipe(LINKER, source=source)
    links(target)
    assert linker._upstream.pipeline() is target
    links(source)
    assert linker._upstream.pipeline() is source
