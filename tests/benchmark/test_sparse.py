import numpy as np
import pytest
from scipy import sparse

from benchmark.names import rank_concepts
from benchmark.sparse import SparseIndex, nearest


def naive(vectors, query, k):
    """RETURNS (list[tuple[int, float]]): Rows and cosine distances, one by one."""
    found = []
    for row, vector in enumerate(vectors):
        dot = float(vector @ query)
        if dot > 0:
            length = np.linalg.norm(vector) * np.linalg.norm(query)
            found.append((1.0 - dot / length, row))
    return [(row, distance) for distance, row in sorted(found)[:k]]


@pytest.mark.parametrize("k", [1, 4, 100])
def test_search_is_that_of_a_loop(k):
    rng = np.random.default_rng(0)
    vectors = rng.random((50, 12)) * (rng.random((50, 12)) < 0.3)
    queries = rng.random((7, 12)) * (rng.random((7, 12)) < 0.3)
    index = SparseIndex(sparse.csr_matrix(vectors), block=3)
    found = index.knnQueryBatch(sparse.csr_matrix(queries), k=k)
    assert len(found) == 7
    for (rows, distances), query in zip(found, queries, strict=True):
        expected = naive(vectors, query, k)
        assert distances == pytest.approx([distance for _, distance in expected], abs=1e-5)
        # Rows of one distance may change places: the loop computes in more digits.
        everything = dict(naive(vectors, query, 50))
        assert [everything[row] for row in rows] == pytest.approx(distances.tolist(), abs=1e-5)
        assert len(set(rows)) == len(rows)


def test_ties_by_row():
    rows, distances = nearest(np.array([5, 3, 9, 1]), np.array([0.5, 0.5, 1.0, 0.5]), 3)
    assert rows.tolist() == [9, 1, 3]
    assert distances.tolist() == [0.0, 0.5, 0.5]


def test_empty_query():
    index = SparseIndex(sparse.csr_matrix(np.eye(3)))
    ((rows, distances),) = index.knnQueryBatch(sparse.csr_matrix((1, 3)), k=2)
    assert len(rows) == len(distances) == 0


def test_concepts_by_best_name_then_training_count(task):
    names = task.names
    rows = [names.keys.index(key) for key in ("cold", "coldness", "fever")]
    # `cold` is a name of C03, which training used three times, and C04, which it used once.
    found = rank_concepts([0.9, 0.95, 0.1], rows, names, top_k=2)
    assert found == (("C04", 0.95), ("C03", 0.9))
    found = rank_concepts([0.9, 0.5, 0.1], [*rows[:2], -1], names, top_k=9)
    assert found == (("C03", 0.9), ("C04", 0.9))


def test_names_of_concepts(task):
    names = task.names
    found = {
        concept_id: [names.keys[row] for row in rows]
        for concept_id, rows in zip(names.concepts, names.names_of_concepts(), strict=True)
    }
    assert found["C04"] == ["cold", "coldness", "low temperature"]
    assert found["C77"] == ["zorblax"]
    assert found["C08"] == ["fever", "fever and headache", "pyrexia"]
