"""A training mention is judged as if its document had never been in the training corpus."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_metric_el.ranking.features import FEATURES
from spacy_metric_el.ranking.ranker import CandidateRanker

from ..kb.vocabulary import ENTITIES
from .corpus import Mention, candidates_of, clusters_of, learn, records_of, table_of

LABEL_OF = {"C1": "Disease", "C2": "Other", "C3": "Disease", "C4": "Disease", "C5": "Disease"}
contexts = st.sampled_from([(1, 0.2), (-1, 0.5), (0.3, 1), (-0.2, 0.1, 1), (0.1, -1, 0.3)])


N_DOCUMENTS = 3
ELSEWHERE = [
    Mention(N_DOCUMENTS, "word", "C8", "Disease", (1, 0)),
    Mention(N_DOCUMENTS, "other word", "C9", "Other", (0, 1)),
]
"""So that no label is of one document alone."""


@st.composite
def corpora(draw):
    """Training mentions of documents: names of the vocabulary, new ones, and a new concept."""
    texts = st.sampled_from(["cold", "Cold", "MI", "bad cold", "heart attack", "grippe"])
    mention = st.tuples(
        st.integers(0, N_DOCUMENTS - 1), texts, st.sampled_from(sorted(LABEL_OF)), contexts
    )
    drawn = [
        Mention(document, text, concept_id, LABEL_OF[concept_id], context)
        for document, text, concept_id, context in draw(st.lists(mention, min_size=1, max_size=9))
    ]
    return drawn + ELSEWHERE


def evidence(judged, corpus, leaves_own_out):
    """RETURNS (list[dict]): For each judged mention the features of each candidate, by its id."""
    records = records_of(ENTITIES, corpus)
    prototypes, labels, own = learn(corpus, records)
    own = own if leaves_own_out else None
    candidates, channels = candidates_of(judged, records, own)
    ranker = CandidateRanker(records, prototypes, labels)
    found = ranker.features(candidates, channels, table_of(judged), own)
    return [
        {records.concept_id(candidates.entities[i]): found[i] for i in range(start, end)}
        for start, end in pairwise(candidates.offsets)
    ]


@settings(max_examples=60)
@given(corpora())
def test_evidence_is_that_of_a_corpus_without_the_document(corpus):
    found = evidence(corpus, corpus, True)
    for document in {m.document for m in corpus} - {N_DOCUMENTS}:
        judged = [i for i, m in enumerate(corpus) if m.document == document]
        others = [m for m in corpus if m.document != document]
        expected = evidence([corpus[i] for i in judged], others, False)
        for i, run in zip(judged, expected, strict=True):
            assert set(found[i]) == set(run)
            for concept_id, row in run.items():
                assert found[i][concept_id] == pytest.approx(row, abs=1e-4)


def values(row, *names):
    return [float(row[FEATURES.index(name)]) for name in names]


SEEN = ("has_prototype", "mean_prototype", "label_agreement", "log_entity_count", "log_link_count")
MENTIONS = [
    Mention(0, "cold", "C1", "Disease", (1, 0)),
    Mention(0, "odd word", "C1", "Disease", (1, 0)),
    Mention(0, "odd word", "C1", "Disease", (1, 0)),
]


def test_a_concept_of_the_own_document_alone_is_unseen():
    corpus = [*MENTIONS, Mention(1, "MI", "C3", "Disease", (0, 1))]
    biased = evidence(corpus, corpus, False)[0]["C1"]
    assert all(value > 0 for value in values(biased, *SEEN))
    assert values(biased, "is_unseen") == [0.0]
    honest = evidence(corpus, corpus, True)[0]["C1"]
    assert not any(values(honest, *SEEN))
    assert values(honest, "is_unseen", "in_vocabulary") == [1.0, 1.0]


def test_a_name_of_the_own_document_alone_is_no_name():
    corpus = [*MENTIONS, Mention(1, "odd cold", "C1", "Disease", (0, 1))]
    biased = evidence(corpus, corpus, False)[1]["C1"]
    assert values(biased, "exact_written", "similarity") == [1.0, 1.0]
    # The concept is still found by a name that another document gave.
    honest = evidence(corpus, corpus, True)[1]["C1"]
    assert values(honest, "exact_written", "log_link_count") == [0.0, pytest.approx(np.log(2))]
    assert values(honest, "similarity") == pytest.approx([1 / 3])
    assert values(honest, "has_prototype", "label_agreement") == [1.0, 1.0]


def test_what_other_documents_say_stays():
    corpus = [*MENTIONS, Mention(1, "odd word", "C1", "Disease", (0.3, 1))]
    judged = evidence(corpus, corpus, True)
    row = judged[1]["C1"]
    assert values(row, *SEEN[:3])[::2] == [1.0, 1.0]
    assert values(row, "log_entity_count", "log_link_count") == pytest.approx([np.log(2)] * 2)
    cosine = 0.3 / np.hypot(0.3, 1)
    assert values(row, "nearest_prototype", "mean_prototype") == pytest.approx([cosine] * 2)
    # Both documents share one cluster; the other judges by the three mentions of the first.
    assert len(set(clusters_of(corpus))) == 1
    assert values(judged[3]["C1"], "log_entity_count") == pytest.approx([np.log(4)])
