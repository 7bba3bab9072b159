import os
from dataclasses import replace

import faiss
import numpy as np
import pytest
import srsly
from hypothesis import given
from hypothesis import strategies as st

import spacy_metric_el.kb.index.faiss_index as index_module
import spacy_metric_el.kb.index.postings as postings_module
import spacy_metric_el.kb.index.row_vectors as vectors_module
import spacy_metric_el.kb.storage as storage_module
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.index.faiss_index import INDEX_FILE, build_index, search_index
from spacy_metric_el.kb.index.postings import build_postings, gather_rows
from spacy_metric_el.kb.index.row_vectors import (
    ROWS_FILE,
    RowVectors,
    make_row_vectors,
    read_vectors,
    write_vectors,
)
from spacy_metric_el.kb.storage import write_manifest

from ..vocabulary import unit_vectors

ROWS = np.asarray([0, 1, 3, 4, 5, 8])
"""Names that have a vector."""


@pytest.fixture
def vectors():
    return make_row_vectors(unit_vectors(6), ROWS, "encoder 1")


@pytest.fixture
def folder(vectors, tmp_path):
    write_vectors(vectors, tmp_path / "vectors")
    return tmp_path / "vectors"


def code_of_reading(folder):
    with pytest.raises(MetricELError) as error:
        read_vectors(folder)
    return error.value.code


def test_rows_stand_for_names(vectors):
    assert (vectors.n_rows, vectors.width) == (6, 4)
    assert vectors.names.tolist() == ROWS.tolist()
    assert vectors.names.dtype == np.int32


@given(st.sets(st.integers(0, 9)), st.lists(st.integers(-1, 12)))
def test_rows_of_names_equal_a_loop(encoded, asked):
    rows = np.asarray(sorted(encoded), dtype=np.int32)
    vectors = RowVectors(build_index(unit_vectors(len(rows))), rows, "encoder 1")
    expected = [rows.tolist().index(name) if name in encoded else -1 for name in asked]
    assert vectors.rows_of(np.asarray(asked, dtype=np.int64)).tolist() == expected


def test_a_factory_can_be_asked_for():
    vectors = make_row_vectors(unit_vectors(6), ROWS, "encoder 1", factory="SQfp16")
    assert isinstance(vectors.index, faiss.IndexScalarQuantizer)


@pytest.mark.parametrize("n_empty", [0, 2, 4])
def test_columns_that_are_empty_in_front_are_not_indexed(tmp_path, n_empty):
    rows = np.concatenate((np.zeros((6, n_empty), np.float32), unit_vectors(6)), axis=1)
    made = make_row_vectors(unit_vectors(6), ROWS, "encoder 1", n_empty=n_empty)
    write_vectors(made, tmp_path / "vectors")
    for vectors in (made, read_vectors(tmp_path / "vectors")):
        assert (vectors.index.d, vectors.width) == (4, 4 + n_empty)
        np.testing.assert_array_equal(vectors.decode(np.arange(6)), rows)
        queries = unit_vectors(3, width=4 + n_empty, seed=1)
        similarities, found = vectors.search(queries, 6)
        np.testing.assert_allclose(similarities, -np.sort(-queries @ rows.T), atol=1e-6)
        np.testing.assert_array_equal(found, np.argsort(-queries @ rows.T))


NAMES = ["heart attack", "heart attacks", "lung", "lung cancer", "cancer", "seizure"]


def list_ngrams():
    return build_postings(lambda rows: [NAMES[i] for i in rows], len(NAMES))


@pytest.fixture
def with_postings(monkeypatch):
    monkeypatch.setattr(index_module, "EXACT_ROWS", 2)
    monkeypatch.setattr(index_module, "SURFACE_ROWS", 3)
    monkeypatch.setattr(postings_module, "N_BUCKETS", 2**12)
    return make_row_vectors(
        unit_vectors(6, width=8),
        ROWS,
        "encoder 1",
        n_empty=2,
        make_postings=list_ngrams,
    )


def test_a_text_is_compared_with_rows_that_share_ngrams(with_postings, tmp_path):
    write_vectors(with_postings, tmp_path / "vectors")
    queries = unit_vectors(4, width=10, seed=1)
    texts = ["lung", "cancers", "heart attack", "xyz"]
    for vectors in (with_postings, read_vectors(tmp_path / "vectors")):
        rows = vectors.decode(np.arange(6))
        similarities, found = vectors.search(queries, 3, texts=texts)
        for i, sharing in enumerate([[2, 3], [3, 4], [0, 1], []]):
            products = queries[i, 2:] @ rows[sharing, 2:].T
            expected = [sharing[j] for j in np.argsort(-products)]
            assert found[i].tolist() == [*expected, *[-1] * (3 - len(sharing))]
            np.testing.assert_allclose(
                similarities[i, : len(sharing)], -np.sort(-products), atol=1e-6
            )
            assert (similarities[i, len(sharing) :] == -np.inf).all()
        # Without texts all rows are compared.
        assert (vectors.search(queries, 6)[1] >= 0).all()


def test_equal_rows_come_in_their_order(with_postings):
    vectors = make_row_vectors(
        np.repeat(unit_vectors(1, width=8), 6, axis=0),
        ROWS,
        "encoder 1",
        n_empty=2,
        make_postings=list_ngrams,
    )
    similarities, found = vectors.search(unit_vectors(1, width=10), 3, texts=["lung cancer"])
    assert found.tolist() == [[2, 3, 4]]
    assert len(set(similarities[0].tolist())) == 1


def test_a_search_asks_for_as_many_texts_and_no_more_rows_than_there_are(with_postings):
    queries = unit_vectors(2, width=10)
    similarities, found = with_postings.search(queries, 1000, texts=["lung", "heart"])
    assert similarities.shape == found.shape == (2, 6)
    with pytest.raises(MetricELError, match="E142"):
        with_postings.search(queries, 3, texts=["lung"])


def test_queries_of_another_width_are_refused(vectors):
    with pytest.raises(MetricELError, match="E137"):
        vectors.search(unit_vectors(2, width=6), 3)


def test_texts_say_nothing_where_there_are_no_postings(vectors):
    queries = unit_vectors(3, seed=1)
    expected, found = vectors.search(queries, 3), vectors.search(queries, 3, texts=["", "", ""])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_how_many_rows_are_compared_goes_by_those_that_are_asked_for(with_postings, monkeypatch):
    asked = []

    def gather(postings, texts, limit):
        asked.append(limit)
        return gather_rows(postings, texts, limit)

    monkeypatch.setattr(vectors_module, "gather_rows", gather)
    monkeypatch.setattr(vectors_module, "COMPARED", 2)
    queries = unit_vectors(1, width=10)
    for k, near in ((3, None), (3, 1), (2, 5), (4, 3)):
        with_postings.search(queries, k, texts=["lung"], near=near)
    assert asked == [6, 6, 4, 8]


def test_postings_of_other_rows_are_refused(with_postings, tmp_path):
    fewer = with_postings.postings._replace(norms=with_postings.postings.norms[:5])
    write_vectors(replace(with_postings, postings=fewer), tmp_path)
    assert code_of_reading(tmp_path) == "E135"


@pytest.mark.parametrize("field", ["offsets", "rows", "weights", "norms"])
def test_postings_that_are_damaged_are_refused(with_postings, tmp_path, field):
    write_vectors(with_postings, tmp_path)
    path = tmp_path / f"postings-{field}.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    assert code_of_reading(tmp_path) == "E134"
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert code_of_reading(tmp_path) == "E134"
    path.unlink()
    assert code_of_reading(tmp_path) == "E134"


def test_an_index_that_is_wider_than_it_should_be_is_refused(folder):
    manifest = srsly.read_json(folder / "manifest.json")
    srsly.write_json(folder / "manifest.json", {**manifest, "width": 3})
    assert code_of_reading(folder) == "E135"


def test_vectors_come_back_from_disk(vectors, folder):
    found = read_vectors(folder)
    assert found.names.tolist() == ROWS.tolist()
    assert found.names.dtype == np.int32
    assert found.fingerprint == "encoder 1"
    queries = unit_vectors(5, seed=1)
    for ours, theirs in zip(
        search_index(vectors.index, queries, 3), search_index(found.index, queries, 3), strict=True
    ):
        assert ours.tolist() == theirs.tolist()


def test_no_folder_no_vectors(tmp_path):
    assert read_vectors(tmp_path) is None
    assert read_vectors(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", [INDEX_FILE, ROWS_FILE])
def test_files_cut_short(folder, name):
    os.truncate(folder / name, (folder / name).stat().st_size - 1)
    assert code_of_reading(folder) == "E134"


@pytest.mark.parametrize(
    ("name", "position"), [(INDEX_FILE, 0), (INDEX_FILE, 8), (ROWS_FILE, 0), (ROWS_FILE, 50)]
)
def test_damaged_files_of_the_right_size(monkeypatch, folder, name, position):
    content = (folder / name).read_bytes()
    damaged = content[:position] + b"\xff" * (len(content) - position)
    (folder / name).write_bytes(damaged)
    assert code_of_reading(folder) == "E134"
    # As if the damage were behind the bytes that are always compared.
    monkeypatch.setattr(storage_module, "head_checksum", lambda path: "")
    manifest = srsly.read_json(folder / "manifest.json")
    for entry in manifest["files"].values():
        entry["sha256_head"] = ""
    srsly.write_json(folder / "manifest.json", manifest)
    assert code_of_reading(folder) == "E135"


@pytest.mark.parametrize("position", range(0, 90, 7))
def test_any_flipped_byte_at_the_start_of_an_index(folder, position):
    content = bytearray((folder / INDEX_FILE).read_bytes())
    content[position] ^= 0x80
    (folder / INDEX_FILE).write_bytes(content)
    assert code_of_reading(folder) == "E134"


def test_a_flipped_byte_in_the_rows(folder):
    content = bytearray((folder / ROWS_FILE).read_bytes())
    content[content.index(ROWS.astype(np.int32).tobytes())] ^= 1
    (folder / ROWS_FILE).write_bytes(content)
    assert code_of_reading(folder) == "E134"


def test_a_manifest_without_a_fingerprint(folder):
    write_manifest(folder, {"width": 4})
    assert code_of_reading(folder) == "E133"


def replace_rows(folder, **rows):
    np.savez(folder / ROWS_FILE, **rows)
    manifest = srsly.read_json(folder / "manifest.json")
    write_manifest(
        folder, {key: manifest[key] for key in ("fingerprint", "width", "factory", "search")}
    )


def test_rows_that_do_not_fit_the_index(folder):
    replace_rows(folder, names=ROWS[:-1])
    assert code_of_reading(folder) == "E135"


def test_rows_that_say_of_no_names_are_refused(folder):
    replace_rows(folder, fields=ROWS)
    assert code_of_reading(folder) == "E135"


NAME_ROWS, NO_NAME = np.zeros(6, dtype=np.uint8), np.eye(1, 6, 5, dtype=np.uint8)[0]


@pytest.mark.parametrize(
    ("kinds", "refs", "is_read"),
    [(NAME_ROWS, ROWS, True), (NO_NAME, ROWS, False), (NAME_ROWS, ROWS[[1, 0, 2, 3, 4, 5]], False)],
    ids=["names", "an entity", "names in another order"],
)
def test_rows_of_version_0_1_are_read_where_they_are_of_names(folder, kinds, refs, is_read):
    replace_rows(folder, kinds=kinds, refs=refs.astype(np.int32))
    found = read_vectors(folder)
    assert (found is not None) == is_read
    if is_read:
        assert found.names.tolist() == ROWS.tolist()


@pytest.mark.parametrize(
    "search", [{}, {"probes": 1}, {"probes": "x", "k_factor": 1}, {"probes": None, "k_factor": 1}]
)
def test_a_manifest_that_does_not_say_how_to_search(folder, search):
    manifest = srsly.read_json(folder / "manifest.json")
    srsly.write_json(folder / "manifest.json", {**manifest, "search": search})
    assert code_of_reading(folder) == "E135"


def test_writing_again_replaces_vectors_that_are_mapped(vectors, folder):
    mapped = read_vectors(folder)
    fewer = make_row_vectors(unit_vectors(2, seed=7), ROWS[:2], "encoder 2")
    write_vectors(fewer, folder)
    assert read_vectors(folder).n_rows == 2
    assert read_vectors(folder).fingerprint == "encoder 2"
    queries = unit_vectors(3, seed=1)
    expected = search_index(vectors.index, queries, 6)[0].tolist()
    assert search_index(mapped.index, queries, 6)[0].tolist() == expected
