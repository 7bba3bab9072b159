import multiprocessing
from pathlib import Path
from queue import Empty

import faiss
import numpy as np
import pytest

import spacy_metric_el.kb.index.faiss_index as index_module
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.index.faiss_index import (
    INDEX_FILE,
    REFINE_FILE,
    IndexPlan,
    build_index,
    count_probes,
    eight_bit_rows,
    plan_index,
    read_index,
    search_index,
    search_settings,
    set_search,
    share_in_clusters,
    write_index,
)

from ..vocabulary import unit_vectors

MAPS = Path("/proc/self/maps")


def brute_force(vectors, queries, k):
    similarities = queries @ vectors.T
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarities, rows, axis=1), rows


def recall(found, expected):
    return np.mean([len(set(f) & set(e)) / len(e) for f, e in zip(found, expected, strict=True)])


def clustered_vectors(n_centres, per_centre, width, noise=0.3):
    """Rows around centres, as names around their concepts."""
    vectors = np.repeat(unit_vectors(n_centres, width), per_centre, axis=0)
    vectors = vectors + noise * unit_vectors(len(vectors), width, seed=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("n_rows", "width", "factory"),
    [(1, 8, "Flat"), (100, 8, "Flat"), (101, 8, "PQ4x4fs,Refine(SQfp16)"), (101, 7, "Flat")],
)
def test_many_rows_of_even_width_are_quantised(monkeypatch, n_rows, width, factory):
    monkeypatch.setattr(index_module, "EXACT_ROWS", 100)
    assert plan_index(unit_vectors(n_rows, width)).factory == factory


@pytest.mark.parametrize(
    ("width", "parts"), [(384, (128, 96)), (256, (64, 64)), (128, (32, 32)), (12, (4, 3))]
)
@pytest.mark.parametrize("is_clustered", [True, False])
def test_rows_that_form_clusters_are_searched_by_them(monkeypatch, width, parts, is_clustered):
    monkeypatch.setattr(index_module, "LARGE_ROWS", 1000)
    monkeypatch.setattr(index_module, "EXACT_ROWS", 100)
    monkeypatch.setattr(
        index_module, "share_in_clusters", lambda *_: 0.94 - 0.1 * (not is_clustered)
    )
    factory = (
        f"IVF32,PQ{parts[0]}x4fs,Refine(SQ8)" if is_clustered else f"PQ{parts[1]}x4fs,Refine(SQ8)"
    )
    assert plan_index(unit_vectors(1000, width)).factory == factory


@pytest.mark.parametrize(("n_rows", "has_postings"), [(999, False), (1000, True)])
def test_many_rows_of_the_surface_channel_get_postings(monkeypatch, n_rows, has_postings):
    monkeypatch.setattr(index_module, "SURFACE_ROWS", 1000)
    monkeypatch.setattr(index_module, "EXACT_ROWS", 100)
    plan = plan_index(unit_vectors(n_rows, 16), by_surface=True)
    assert plan.has_postings == has_postings
    assert plan.factory == ("SQ8" if has_postings else "PQ8x4fs,Refine(SQfp16)")


@pytest.mark.parametrize("width", [1, 8, 33])
@pytest.mark.parametrize("from_disk", [False, True])
def test_rows_at_eight_bits_are_compared_as_faiss_decodes_them(tmp_path, width, from_disk):
    index = build_index(unit_vectors(50, width), IndexPlan("SQ8"))
    if from_disk:
        write_index(index, tmp_path)
        index = read_index(tmp_path)
    rows, query = np.asarray([3, 49, 0, 3]), unit_vectors(1, width, seed=1)[0]
    expected = index.reconstruct_batch(rows) @ query
    np.testing.assert_allclose(eight_bit_rows(index).compare(rows, query), expected, atol=1e-6)
    assert eight_bit_rows(index).compare(rows[:0], query).shape == (0,)


def test_share_of_neighbours_in_the_nearest_clusters():
    clustered, scattered = clustered_vectors(40, 100, 16), unit_vectors(4000, 16)
    shares = [share_in_clusters(x, 64, searched=16) for x in (clustered, scattered)]
    assert shares[0] > 0.95
    assert shares[1] < 0.6
    assert share_in_clusters(scattered, 64, searched=1) == 1.0
    assert share_in_clusters(scattered[:5], 64) == 1.0


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


PLANS = [
    IndexPlan("PQ8x4fs,Refine(SQfp16)"),
    IndexPlan("IVF64,PQ8x4fs,Refine(SQ8)", 6.0),
    IndexPlan("PQ4x4fs,Refine(SQ8)", 16.0),
]


@pytest.fixture(scope="module", params=PLANS, ids=lambda plan: plan.factory)
def quantised(request):
    vectors = clustered_vectors(300, 10, 16)
    # Two threads wait for each other for seconds on cores that are busy.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    index = build_index(vectors, request.param)
    faiss.omp_set_num_threads(threads)
    return vectors, index


def test_quantised_search_finds_nearly_all_of_the_nearest(quantised):
    vectors, index = quantised
    similarities, rows = search_index(index, vectors[::10], 10)
    expected_similarities, expected_rows = brute_force(vectors, vectors[::10], 10)
    assert recall(rows, expected_rows) > 0.96
    assert (rows[:, 0] == np.arange(0, 3000, 10)).mean() > 0.98
    # Refined: scores are those of the vectors, not of the codes.
    np.testing.assert_allclose(similarities[:, 0], expected_similarities[:, 0], atol=1e-2)


def test_refining_is_what_finds_them(quantised):
    vectors, index = quantised
    _, expected = brute_force(vectors, vectors[::10], 10)
    _, coarse = index.base_index.search(vectors[::10], 10)
    assert recall(coarse, expected) < recall(search_index(index, vectors[::10], 10)[1], expected)


def test_rows_behind_the_near_ones_are_added_to_them(quantised):
    vectors, index = quantised
    before = search_settings(index)
    near, more = (search_index(index, vectors[::10], k, near=5) for k in (5, 10))
    np.testing.assert_array_equal(more[1][:, :5], near[1])
    assert (more[1] >= 0).all()
    # As many rows are compared again as for the near ones, not twice as many.
    all_near = search_index(index, vectors[::10], 10)
    expected = brute_force(vectors, vectors[::10], 10)[1]
    assert recall(more[1], expected) <= recall(all_near[1], expected)
    assert search_settings(index) == before


@pytest.mark.parametrize("k_factor", [1.0, 2.0])
def test_near_rows_are_the_same_however_many_more_are_asked_for(quantised, k_factor):
    vectors, index = quantised
    before = index.k_factor
    index.k_factor = k_factor
    try:
        near = search_index(index, vectors[::10], 5)[1]
        for k in (10, 50, len(vectors)):
            products, rows = search_index(index, vectors[::10], k, near=5)
            np.testing.assert_array_equal(rows[:, :5], near)
            found = [row[row >= 0] for row in rows]
            assert all(len(np.unique(row)) == len(row) for row in found)
            assert (np.abs(products[rows >= 0]) < 1.01).all()
            assert rows.shape == (300, k)
    finally:
        index.k_factor = before


def test_training_on_a_sample_is_deterministic():
    vectors = unit_vectors(70_000, 2)
    plan = IndexPlan("PQ1x4fs")
    first, second = (search_index(build_index(vectors, plan), vectors[:9], 3) for _ in "ab")
    assert first[0].tolist() == second[0].tolist()


def test_half_precision_rows_in_a_file_are_indexed_alike(tmp_path):
    vectors = np.memmap(tmp_path / "rows", dtype=np.float16, mode="w+", shape=(50, 8))
    vectors[:] = unit_vectors(50, 8)
    _, rows = search_index(build_index(vectors), unit_vectors(9, 8, seed=1), 5)
    assert (
        rows.tolist()
        == brute_force(vectors.astype(np.float32), unit_vectors(9, 8, seed=1), 5)[1].tolist()
    )


@pytest.mark.parametrize(("n_lists", "probes"), [(1, 1), (8, 1), (64, 8), (1024, 128)])
def test_one_cluster_in_eight_is_searched(n_lists, probes):
    index = build_index(unit_vectors(1024, 2), IndexPlan(f"IVF{n_lists},Flat"))
    assert search_settings(index) == {"probes": probes, "k_factor": 1.0}


def test_of_very_many_clusters_a_smaller_share_is_searched():
    assert [count_probes(n) for n in (0, 1024, 4096, 16_384)] == [0, 128, 256, 512]


@pytest.mark.parametrize(
    ("factory", "width"), [("PQ3x4fs", 8), ("Flat8", 8), ("IVF,PQ", 8), ("", 0), ("IVF64,Flat", 8)]
)
def test_an_index_that_faiss_cannot_make(factory, width):
    with pytest.raises(MetricELError) as error:
        build_index(unit_vectors(10, width), IndexPlan(factory))
    assert error.value.code == "E141"
    assert f"'{factory}'" in str(error.value)


def test_what_refines_lies_in_a_file_of_its_own(tmp_path, quantised):
    vectors, index = quantised
    write_index(index, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [INDEX_FILE, REFINE_FILE]
    found = read_index(tmp_path)
    set_search(found, **search_settings(index))
    assert found.ntotal == 3000
    assert search_settings(found) == search_settings(index)
    for a, b in zip(
        search_index(found, vectors[:9], 5), search_index(index, vectors[:9], 5), strict=True
    ):
        assert a.tolist() == b.tolist()
    np.testing.assert_array_equal(found.reconstruct(7), index.reconstruct(7))


def test_a_mapped_index_finds_the_same(tmp_path):
    vectors = unit_vectors(20, 8)
    write_index(build_index(vectors), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [INDEX_FILE]
    for a, b in zip(
        search_index(read_index(tmp_path), vectors, 5),
        search_index(build_index(vectors), vectors, 5),
        strict=True,
    ):
        assert a.tolist() == b.tolist()


@pytest.mark.skipif(not MAPS.is_file(), reason="tells no maps of a process")
def test_a_flat_index_is_mapped_and_not_read(tmp_path):
    """Only one of FAISS's flags for mapping maps the vectors of a flat index."""
    write_index(build_index(unit_vectors(20, 8)), tmp_path)
    file = str(tmp_path / INDEX_FILE)
    whole = faiss.read_index(file)
    assert file not in MAPS.read_text()
    mapped = read_index(tmp_path)
    assert file in MAPS.read_text()
    np.testing.assert_array_equal(mapped.reconstruct_n(), whole.reconstruct_n())


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
