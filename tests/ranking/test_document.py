import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.ranking.document import DOCUMENT_FEATURES, document_evidence

few = st.integers(0, 2)
probabilities = st.sampled_from([0.0, 0.25, 0.5, 0.5, 1.0])
pairs = st.lists(st.tuples(few, few, few, probabilities), max_size=14)

MAX, SUM = map(DOCUMENT_FEATURES.index, ("elsewhere_max", "elsewhere_sum"))


def evidence(some_pairs):
    documents, groups, entities, p = zip(*some_pairs, strict=True) if some_pairs else [()] * 4
    ints = (np.asarray(values, dtype=np.int64) for values in (documents, groups, entities))
    return document_evidence(*ints, np.asarray(p, dtype=np.float32))


@given(pairs)
def test_evidence_equals_a_loop(some_pairs):
    found = evidence(some_pairs)
    assert found.shape == (len(some_pairs), len(DOCUMENT_FEATURES))
    for row, (document, group, entity, _) in zip(found, some_pairs, strict=True):
        texts = {}
        for other_document, other_group, other_entity, p in some_pairs:
            if (other_document, other_entity) == (document, entity) and other_group != group:
                texts[other_group] = max(texts.get(other_group, 0.0), p)
        assert row[MAX] == max(texts.values(), default=0.0)
        assert row[SUM] == pytest.approx(math.log1p(sum(texts.values())), rel=1e-6)


def test_a_frequent_text_does_not_confirm_itself():
    said_often = [(0, 0, 5, 0.9)] * 10
    assert not evidence(said_often).any()
    assert evidence([*said_often, (0, 1, 5, 0.3)])[-1].tolist() == pytest.approx(
        [0.9, math.log1p(0.9)]
    )


def test_other_documents_and_other_candidates_say_nothing():
    assert not evidence([(0, 0, 5, 0.9), (1, 1, 5, 0.9), (0, 1, 6, 0.9)]).any()
