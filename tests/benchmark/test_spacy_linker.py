import random

import numpy as np
import pytest
from spacy.tokens import Span

from benchmark.rows.spacy_linker import SpacyRow, entity_vectors, look_up, rank


@pytest.fixture
def row(task):
    row = SpacyRow(budget_minutes=1e-6, vector_width=8)
    training = row.train(task)
    assert training.details["steps"] <= 1
    return row


def test_aliases_and_priors(row):
    found = {c.entity_: c.prior_prob for c in look_up(row.linker.kb, "COLD")}
    assert found == {"C03": pytest.approx(3.5 / 5), "C04": pytest.approx(1.5 / 5)}
    assert list(look_up(row.linker.kb, "sunburn")) == []


def test_best_candidate_is_that_of_the_component(row, dev):
    doc = dev.docs[0].copy()
    mentions = [mention for mention in dev.mentions if mention.doc == 0 and mention.gold]
    doc.ents = [Span(doc, mention.start, mention.end, label="X") for mention in mentions]
    random.seed(0)
    predicted = row.linker.predict([doc])
    found = row.link(dev, top_k=64)[: len(mentions)]
    assert [candidates[0][0] for candidates in found] == predicted
    assert [len(candidates) for candidates in found] == [2, 1, 1, 2, 2]


def test_scores_join_prior_and_context(row, dev):
    mention = dev.mentions[0]
    span = dev.docs[0][mention.start : mention.end]
    part = span.sent.as_doc()
    part.ents = [Span(part, 0, 1, label="X")]
    context = row.linker.model.predict([part])[0]
    for concept_id, score in rank(row.linker, span, mention.text):
        vector = np.asarray(row.linker.kb.get_vector(concept_id))
        prior = row.linker.kb.get_prior_prob(concept_id, "cold")
        if concept_id == "C04":
            prior = 0.3
        similarity = vector @ context / np.linalg.norm(vector) / np.linalg.norm(context)
        assert score == pytest.approx(prior + similarity - prior * similarity, abs=1e-5)


def test_entity_vectors_know_shared_words(task):
    vectors = entity_vectors(task.kb, task.names, width=8, seed=0)
    assert vectors.shape == (9, 8)
    similarity = vectors @ vectors.T
    places = {concept_id: i for i, concept_id in enumerate(task.names.concepts)}
    # Both are coldness; aspirin is not.
    cold, low, aspirin = (places[concept_id] for concept_id in ("C03", "C04", "C05"))
    assert similarity[cold, low] > similarity[cold, aspirin]
