import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.ranking import (
    ENTITY_ROW,
    NAME_ROW,
    RowTargets,
    expand_rows,
    rank_entities,
)

N_ENTITIES = 5


@st.composite
def row_targets(draw):
    bearers = st.lists(st.integers(0, N_ENTITIES - 1), min_size=1, max_size=3, unique=True)
    names = draw(st.lists(bearers.map(sorted), min_size=1, max_size=4))
    rows = draw(
        st.lists(
            st.tuples(st.just(NAME_ROW), st.integers(0, len(names) - 1))
            | st.tuples(st.just(ENTITY_ROW), st.integers(0, N_ENTITIES - 1)),
            min_size=1,
            max_size=6,
        )
    )
    weights = [np.asarray(draw(st.permutations([1, 2, 5])))[: len(name)] for name in names]
    log_priors = np.concatenate([np.log(weight / weight.sum()) for weight in weights])
    return RowTargets(
        np.asarray([kind for kind, _ in rows], dtype=np.uint8),
        np.asarray([ref for _, ref in rows], dtype=np.int32),
        np.cumsum([0, *map(len, names)]),
        np.asarray([entity for name in names for entity in name], dtype=np.int32),
        log_priors.astype(np.float32),
    )


@st.composite
def searches(draw):
    """Targets with rows found for some queries; few similarities, so that ties come."""
    targets = draw(row_targets())
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    row = st.integers(-1, len(targets.kinds) - 1)
    similarity = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, 1.0000001])
    size = shape[0] * shape[1]
    rows = draw(st.lists(row, min_size=size, max_size=size))
    similarities = draw(st.lists(similarity, min_size=size, max_size=size))
    return (
        np.asarray(similarities, dtype=np.float32).reshape(shape),
        np.asarray(rows, dtype=np.int64).reshape(shape),
        targets,
    )


def naive_expand(rows, targets):
    found = []
    for position, row in enumerate(rows):
        ref = targets.refs[row]
        if targets.kinds[row] == NAME_ROW:
            for link in range(targets.name_offsets[ref], targets.name_offsets[ref + 1]):
                prior = targets.name_log_priors[link]
                found.append((position, targets.name_entities[link], prior))
        else:
            found.append((position, ref, 0.0))
    return found


def naive_scores(similarities, rows, targets, prior_weight):
    best = {}
    for similarity, row in zip(similarities, rows, strict=True):
        if row < 0:
            continue
        for _, entity, log_prior in naive_expand([row], targets):
            score = min(max(similarity, 0.0), 1.0) * math.exp(prior_weight * log_prior)
            best[entity] = max(best.get(entity, 0.0), score)
    return best


@given(row_targets(), st.data())
def test_expand_rows_equals_a_loop(targets, data):
    rows = data.draw(st.lists(st.integers(0, len(targets.kinds) - 1), min_size=1, max_size=6))
    positions, entities, log_priors = expand_rows(np.asarray(rows), targets)
    expected = naive_expand(rows, targets)
    assert list(zip(positions, entities, log_priors, strict=True)) == expected


@given(searches(), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 7))
def test_rank_entities_equals_a_loop(search, prior_weight, top_k):
    similarities, rows, targets = search
    entities, scores = rank_entities(
        similarities, rows, targets, prior_weight=prior_weight, top_k=top_k
    )
    assert entities.shape == scores.shape == (len(rows), top_k)
    assert ((scores >= 0) & (scores <= 1)).all()
    for query in range(len(rows)):
        best = naive_scores(similarities[query], rows[query], targets, prior_weight)
        n = min(len(best), top_k)
        found, found_scores = entities[query, :n].tolist(), scores[query, :n].tolist()
        assert found_scores == pytest.approx(sorted(best.values(), reverse=True)[:n], abs=1e-6)
        assert found_scores == pytest.approx([best[entity] for entity in found], abs=1e-6)
        ranks = [(-score, entity) for entity, score in zip(found, found_scores, strict=True)]
        assert ranks == sorted(set(ranks))
        assert (entities[query, n:] == -1).all()
        assert not scores[query, n:].any()
        if prior_weight == 0.0:
            assert found == sorted(best, key=lambda entity: (-best[entity], entity))[:n]


def test_ties_go_to_the_first_concept():
    kinds = np.full(3, ENTITY_ROW, dtype=np.uint8)
    refs = np.asarray([4, 1, 3], dtype=np.int32)
    none = np.zeros(1, dtype=np.int32)
    targets = RowTargets(kinds, refs, np.asarray([0, 1]), none, np.zeros(1, dtype=np.float32))
    similarities = np.asarray([[0.5, 0.5, 0.5]], dtype=np.float32)
    for rows in ([0, 1, 2], [2, 1, 0]):
        entities, _ = rank_entities(
            similarities, np.asarray([rows]), targets, prior_weight=0.0, top_k=2
        )
        assert entities.tolist() == [[1, 3]]
