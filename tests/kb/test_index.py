import multiprocessing
from queue import Empty

import faiss
import numpy as np
import pytest

from spacy_metric_el.kb.index import (
    EXACT_ROWS,
    build_index,
    choose_factory,
    read_index,
    search_index,
)

from .vocabulary import unit_vectors


def brute_force(vectors, queries, k):
    similarities = queries @ vectors.T
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarities, rows, axis=1), rows


def recall(found, expected):
    return np.mean([len(set(f) & set(e)) / len(e) for f, e in zip(found, expected, strict=True)])


@pytest.mark.parametrize(
    ("n_rows", "width", "factory"),
    [
        (1, 384, "Flat"),
        (EXACT_ROWS, 384, "Flat"),
        (EXACT_ROWS + 1, 384, "PQ192x4fs,Refine(SQfp16)"),
        (EXACT_ROWS + 1, 383, "Flat"),
    ],
)
def test_many_rows_of_even_width_are_quantised(n_rows, width, factory):
    assert choose_factory(n_rows, width) == factory


@pytest.mark.parametrize(("n_rows", "k"), [(1, 1), (200, 7), (200, 200)])
def test_exact_search_equals_brute_force(n_rows, k):
    vectors, queries = unit_vectors(n_rows, 8), unit_vectors(30, 8, seed=1)
    similarities, rows = search_index(build_index(vectors), queries, k)
    expected_similarities, expected_rows = brute_force(vectors, queries, k)
    assert rows.tolist() == expected_rows.tolist()
    np.testing.assert_allclose(similarities, expected_similarities, atol=1e-6)


def test_asking_for_more_rows_than_there_are():
    similarities, rows = search_index(build_index(unit_vectors(3)), unit_vectors(2), 10)
    assert similarities.shape == rows.shape == (2, 3)
    assert sorted(rows[0]) == [0, 1, 2]


def test_an_empty_index_finds_nothing():
    _, rows = search_index(build_index(unit_vectors(0)), unit_vectors(2), 5)
    assert (rows == -1).all()
    assert len(rows) == 2


def test_a_search_takes_queries_of_any_layout():
    vectors, queries = unit_vectors(50, 8), unit_vectors(20, 8, seed=1)
    index = build_index(vectors)
    expected = search_index(index, queries, 3)[1].tolist()
    assert search_index(index, np.asfortranarray(queries), 3)[1].tolist() == expected
    assert search_index(index, queries.astype("float64"), 3)[1].tolist() == expected


@pytest.fixture(scope="module")
def quantised():
    """3,000 rows around 300 centres, as names around their concepts."""
    vectors = np.repeat(unit_vectors(300, 16), 10, axis=0) + 0.3 * unit_vectors(3000, 16, seed=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    factory = choose_factory(EXACT_ROWS + 1, 16)
    # Two threads wait for each other for seconds on cores that are busy.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    index = build_index(vectors, factory)
    faiss.omp_set_num_threads(threads)
    return vectors, index


def test_quantised_search_finds_nearly_all_of_the_nearest(quantised):
    vectors, index = quantised
    similarities, rows = search_index(index, vectors[::10], 10)
    expected_similarities, expected_rows = brute_force(vectors, vectors[::10], 10)
    assert recall(rows, expected_rows) > 0.97
    assert (rows[:, 0] == np.arange(0, 3000, 10)).mean() > 0.99
    # Refined at half precision: scores are those of the vectors, not of the codes.
    np.testing.assert_allclose(similarities[:, 0], expected_similarities[:, 0], atol=2e-3)


def test_refining_is_what_finds_them(quantised):
    vectors, index = quantised
    _, expected = brute_force(vectors, vectors[::10], 10)
    _, coarse = index.search(vectors[::10], 10)
    assert recall(coarse, expected) < recall(search_index(index, vectors[::10], 10)[1], expected)


def test_training_on_a_sample_is_deterministic():
    vectors = unit_vectors(70_000, 2)
    first, second = (search_index(build_index(vectors, "PQ1x4fs"), vectors[:9], 3) for _ in "ab")
    assert first[0].tolist() == second[0].tolist()


@pytest.mark.parametrize("n_rows", [20, 3000])
def test_a_mapped_index_finds_the_same(tmp_path, quantised, n_rows):
    vectors, index = quantised
    index = build_index(vectors[:20]) if n_rows == 20 else index
    path = str(tmp_path / "index.faiss")
    faiss.write_index(index, path)
    mapped = read_index(path)
    assert mapped.ntotal == n_rows
    for found, expected in zip(
        search_index(mapped, vectors[:9], 5), search_index(index, vectors[:9], 5), strict=True
    ):
        assert found.tolist() == expected.tolist()


def search_in_child(index, queries, answers):
    answers.put(search_index(index, queries, 3)[1].tolist())


@pytest.mark.skipif(faiss.omp_get_max_threads() == 1, reason="one thread never hangs")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_can_search_after_its_parent_has():
    fork = multiprocessing.get_context("fork")
    vectors = unit_vectors(2000, 16)
    index = build_index(vectors)
    expected = search_index(index, vectors[:64], 3)[1].tolist()
    answers = fork.Queue()
    child = fork.Process(target=search_in_child, args=(index, vectors[:64], answers))
    child.start()
    try:
        assert answers.get(timeout=30) == expected
    except Empty:
        pytest.fail("the forked child hangs in its first search")
    finally:
        child.kill()
        child.join()
