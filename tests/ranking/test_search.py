"""A search among the vectors of a knowledge base finds concepts as a loop over all rows does."""

import numpy as np
import pytest

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity, FaissKnowledgeBase
from spacy_metric_el.kb.index.row_vectors import make_row_vectors
from spacy_metric_el.mentions import encoded_names
from spacy_metric_el.ranking.retrieval import keep_first, name_candidates, retrieve
from spacy_metric_el.settings import LinkerSettings

from ..kb.vocabulary import make_kb, unit_vectors

QUERIES = unit_vectors(7, seed=5)


@pytest.fixture
def kb():
    return make_kb()


def candidates(kb, queries, *, top_k, **settings):
    """RETURNS (list[list[Candidate]]): Concepts near to queries, whose texts are no names."""
    mentions = encoded_names([f"query {i}" for i in range(len(queries))], queries, 0)
    found = retrieve(
        kb.records, kb.require_vectors(), mentions, LinkerSettings(**settings), top_k=top_k
    )
    return name_candidates(kb.records, *keep_first(found, top_k))


def naive_candidates(kb, query, prior_weight, top_k):
    vectors = kb.vectors.decode(np.arange(kb.vectors.n_rows))
    texts = kb.records.name_texts()
    best = {}
    for row, name in enumerate(kb.vectors.names):
        similarity = round(max(float(query @ vectors[row]), 0.0), 3)
        for cid, prior in kb.lookup(texts[name]):
            is_canonical = texts[name].lower() == kb[cid].canonical_name.lower()
            # Concepts of the corpus alone have no canonical name.
            key = (similarity * prior**prior_weight, is_canonical and cid != "C5")
            best[cid] = max(best.get(cid, key), key)
    ranked = sorted(best.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
    return [(cid, score) for cid, (score, _) in ranked[:top_k]]


@pytest.mark.parametrize("prior_weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("top_k", [1, 3, 5])
def test_candidates_equal_a_loop_over_all_rows(kb, prior_weight, top_k):
    found = candidates(kb, QUERIES, top_k=top_k, prior_weight=prior_weight)
    assert len(found) == len(QUERIES)
    for query, pairs in zip(QUERIES, found, strict=True):
        expected = naive_candidates(kb, query, prior_weight, top_k)
        assert [cid for cid, _ in pairs] == [cid for cid, _ in expected]
        assert [s for _, s in pairs] == pytest.approx([s for _, s in expected], abs=1e-6)
        assert {type(score) for _, score in pairs} == {float}


def test_only_the_nearest_rows_are_looked_at(kb):
    wide, narrow = (candidates(kb, QUERIES, top_k=1, search_rows=k) for k in (64, 1))
    assert wide == narrow
    # Nine names of five concepts: two rows for each one that is asked for.
    mentions = encoded_names(["query"] * len(QUERIES), QUERIES, 0)
    settings = LinkerSettings(search_rows=1)
    found = retrieve(kb.records, kb.vectors, mentions, settings, top_k=1)
    nearest = kb.vectors.search(QUERIES, 2)[1]
    for i, rows in enumerate(nearest):
        assert set(found.rows[slice(*found.offsets[i : i + 2])]) <= set(rows.tolist())
    assert all(len(pairs) == 5 for pairs in candidates(kb, QUERIES, top_k=9, search_rows=1))


def test_rows_behind_the_near_ones_change_nothing_before_them(kb):
    few, many = (candidates(kb, QUERIES, top_k=k, search_rows=3) for k in (1, 5))
    assert [pairs[:1] for pairs in many] == few


def test_equal_scores_go_by_concept_id():
    entities = [Entity(f"C{i}", f"name {i}", []) for i in (3, 1, 5, 4, 2)]
    kb = FaissKnowledgeBase.from_entities(entities)
    same = np.repeat(unit_vectors(1), 5, axis=0)
    kb.vectors = make_row_vectors(same, np.arange(5), "encoder")
    assert [cid for cid, _ in candidates(kb, same[:1], top_k=4)[0]] == ["C1", "C2", "C3", "C4"]


def test_no_queries_no_candidates(kb):
    assert candidates(kb, np.zeros((0, 4), dtype="float32"), top_k=3) == []


def test_queries_of_another_width(kb):
    with pytest.raises(MetricELError, match="E137"):
        candidates(kb, unit_vectors(2, width=6), top_k=3)


def test_concepts_without_any_row_are_not_found(kb):
    names = np.asarray([kb.records.name_index("Mitral insufficiency")])
    kb.vectors = make_row_vectors(QUERIES[:1], names, "new")
    assert candidates(kb, QUERIES[:1], top_k=5) == [[("C4", pytest.approx(1.0))]]
