"""The benchmark of knowledge bases: names, vectors, figures of processes, commands."""

import json

import numpy as np
import pytest
import srsly
from typer.testing import CliRunner

from benchmark.errors import BenchmarkError
from benchmark.kb.encoding import all_rows, encode_names, make_encoder
from benchmark.kb.measure import Reordered, exact_search, in_own_process, measure_rows, recall
from benchmark.kb.names import make_names
from benchmark.kb.peers import compare_peers, draw_entities, gold_mentions
from benchmark.kb.probe import TOP_K
from benchmark.kb.run import app
from benchmark.kb.workers import measure_workers
from spacy_metric_el.kb import Entity, FaissKnowledgeBase
from spacy_metric_el.text import normalise_name

WORDS = ["acute", "chronic", "heart", "lung", "kidney", "failure", "attack", "pain", "cancer"]
REAL = [f"{a} {b} {c}" for a in WORDS[:2] for b in WORDS[2:5] for c in WORDS[5:]]
REAL = [f"{name} {i % 5}" if i % 2 else name for i, name in enumerate(REAL)]


def names(n=60, queries=4, seed=0):
    return make_names([REAL[:20], REAL], n, queries=queries, seed=seed)


def test_real_names_come_first_and_those_that_search_are_left_out():
    made = names(10)
    assert made.n_real == len(made.indexed) == 10
    assert set(made.indexed) | set(made.queries) <= set(map(normalise_name, REAL))
    assert not set(made.indexed) & set(made.queries)
    assert made.parents.shape == (0, 2)


def test_other_names_are_made_of_two():
    made = names()
    assert (made.n_real, len(made.indexed), len(made.queries)) == (20, 60, 4)
    assert len(set(made.indexed) | set(made.queries)) == 64
    for name, (first, second) in zip(made.indexed[20:], made.parents, strict=True):
        head, tail = made.indexed[first].split(), made.indexed[second].split()
        assert name.split() == [*head[:-1], tail[-1]]


def test_names_depend_on_the_seed_alone():
    assert names(seed=1).indexed == names(seed=1).indexed != names(seed=2).indexed


@pytest.mark.parametrize("settings", [{"queries": 24}, {"n": 10_000}])
def test_too_few_names(settings):
    with pytest.raises(BenchmarkError, match="E410"):
        names(**settings)


def test_vectors_are_kept_and_mixed(tmp_path):
    made = names()
    encode, what = make_encoder("surface", made.indexed, 16)
    encoded = encode_names(encode, what, made.indexed[:20], tmp_path, progress=False)
    np.testing.assert_allclose(encoded, encode(made.indexed[:20]), atol=1e-3)

    def refuse(texts):
        raise AssertionError("encoded twice")

    again = encode_names(refuse, what, made.indexed[:20], tmp_path, progress=False)
    np.testing.assert_array_equal(again, encoded)


def test_made_names_are_mixed_or_encoded(tmp_path):
    made = names()
    encode, what = make_encoder("surface", made.indexed, 16)
    encoded = encode(made.indexed)
    mixed = all_rows(made, encode, "another", 8, tmp_path, progress=False)
    assert mixed.shape == (60, 8)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1.0, atol=1e-2)
    first, second = made.parents[3]
    both = 0.85 * encoded[first, :8] + 0.35 * encoded[second, :8]
    np.testing.assert_allclose(mixed[23], both / np.linalg.norm(both), atol=1e-2)
    whole = all_rows(made, encode, what, 8, tmp_path, progress=False)
    np.testing.assert_allclose(mixed[:20], whole[:20], atol=1e-2)
    expected = encoded[23, :8] / np.linalg.norm(encoded[23, :8])
    np.testing.assert_allclose(whole[23], expected, atol=1e-2)


def test_an_unknown_encoder():
    with pytest.raises(BenchmarkError, match="E410"):
        make_encoder("word2vec", [], 8)


def test_rows_in_another_order():
    rows, order = np.arange(12).reshape(6, 2), np.asarray([4, 0, 5, 2])
    reordered = Reordered(rows, order)
    assert (len(reordered), reordered.shape) == (4, (4, 2))
    np.testing.assert_array_equal(reordered[1:3], rows[[0, 5]])
    np.testing.assert_array_equal(reordered[np.asarray([3, 0])], rows[[2, 4]])


def unit(n, width, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_exact_search_in_blocks(monkeypatch):
    monkeypatch.setattr("benchmark.kb.measure.BLOCK", 70)
    vectors, queries = unit(200, 8), unit(9, 8, seed=1)
    similarities, rows = exact_search(vectors, queries)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :TOP_K]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(
        similarities, np.take_along_axis(queries @ vectors.T, expected, 1), atol=1e-6
    )


def test_recall_counts_what_is_as_near_and_what_is_missing():
    vectors, queries = unit(200, 8), unit(9, 8, seed=1)
    _, rows = exact_search(vectors, queries)
    assert recall(vectors, queries, rows) == {"recall_at_1": 1.0, "recall_at_64": 1.0}
    worse = rows.copy()
    worse[:3, 0] = rows[:3, 40]
    worse[:, 32:] = -1
    found = recall(vectors, queries, worse)
    assert found["recall_at_1"] == pytest.approx(6 / 9)
    assert found["recall_at_64"] == pytest.approx((6 * 32 + 3 * 32) / (9 * 64), abs=0.01)
    twin = np.concatenate((vectors, vectors))
    assert recall(twin, queries, rows + 200)["recall_at_1"] == 1.0


def test_figures_of_a_process_of_its_own(tmp_path):
    made = names()
    encode, _ = make_encoder("surface", made.indexed, 16)
    vectors, queries = encode(made.indexed), encode(made.queries)
    found = measure_rows(
        made.indexed, vectors, queries, made.queries, factory="SQfp16", folder=tmp_path
    )
    assert found["names"] == 60
    assert (found["index"], found["width"]) == ("SQfp16", 16)
    assert found["recall_at_1"] == 1.0
    assert found["recall_at_64"] == pytest.approx(60 / 64, abs=0.07)
    assert found["searches_per_second"] > found["one_by_one_per_second"] / 100 > 0
    assert 0 < found["load_seconds"] < 60
    assert found["disk_mib"] > 0
    assert list(tmp_path.iterdir()) == []


def test_texts_of_the_surface_channel_are_searched_by_their_ngrams(monkeypatch, tmp_path):
    monkeypatch.setattr("spacy_metric_el.kb.index.faiss_index.EXACT_ROWS", 10)
    monkeypatch.setattr("spacy_metric_el.kb.index.faiss_index.SURFACE_ROWS", 20)
    made = names()
    encode, _ = make_encoder("surface", made.indexed, 16)
    vectors, queries = encode(made.indexed), encode(made.queries)
    found = measure_rows(
        made.indexed, vectors, queries, made.queries, by_surface=True, folder=tmp_path
    )
    assert (found["index"], found["postings"], found["width"]) == ("SQ8", True, 16)
    assert found["recall_at_1"] > 0.7
    assert found["searches_per_second"] > 0


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(BenchmarkError, match=r"E412.*nowhere"):
        in_own_process("measure", tmp_path, tmp_path, tmp_path / "nowhere.json", tmp_path)


def test_gold_mentions_are_those_that_can_be_found(kb_path, dev_path):
    kb = FaissKnowledgeBase.from_disk(kb_path)
    gold = gold_mentions(kb, dev_path)
    assert ("myocardial infarction", ["C01"]) in gold
    assert all(ids and all(i in kb for i in ids) for _, ids in gold)
    wanted = {"C08", "C01"}
    few = draw_entities(kb, wanted, 1, seed=0)
    assert {entity.concept_id for entity in few} == wanted
    assert len(draw_entities(kb, wanted, 0, seed=0)) == len(kb)


def test_ours_finds_what_it_is_asked_for(kb_path, dev_path):
    kb = FaissKnowledgeBase.from_disk(kb_path)
    ((linker, found),) = compare_peers(kb, dev_path, 0, max_minutes=1, seed=0, with_scispacy=False)
    assert linker == "ours"
    assert found["concepts"] == len(kb)
    assert 0.5 < found["acc"] <= found["recall_at_64"] == 1.0
    assert found["build_seconds"] > 0


def test_memory_of_workers(kb_path, monkeypatch):
    monkeypatch.setattr("benchmark.kb.workers.FEW", 2)
    found = measure_workers(FaissKnowledgeBase.from_disk(kb_path), 2, n_mentions=20)
    assert (found["workers"], found["names"]) == (
        2,
        FaissKnowledgeBase.from_disk(kb_path).records.n_names,
    )
    # Three processes instead of one, each with some pages of its own.
    assert found["few_names"]["together_mib"] > found["few_names"]["alone_mib"] > 50


def test_the_table_gathers_what_was_measured(tmp_path):
    folder = tmp_path / "kb"
    run = CliRunner().invoke(app, ["table", "--folder", str(folder)])
    assert run.exit_code == 1
    srsly.write_json(tmp_path / "x.json", {})
    folder.mkdir()
    figures = {"names": 1_000_000, "index": "Flat", "load_seconds": 0.25, "recall_at_64": 0.96}
    srsly.write_json(folder / "rows-1000000-minilm.json", figures)
    shared = {"names": 785_125, "workers": 4, "one_mib": 300.0, "all_mib": 330.0}
    srsly.write_json(folder / "workers-4.json", shared)
    run = CliRunner().invoke(app, ["table", "--folder", str(folder)])
    assert run.exit_code == 0, run.output
    for text in ("1,000,000", "0.25", "0.960", "785,125", "adds 300 MiB", "330 MiB"):
        assert text in run.output
        assert text in (tmp_path / "kb.md").read_text(encoding="utf8")
    assert json.loads((tmp_path / "kb.json").read_text())["rows-1000000-minilm"] == figures


@pytest.fixture
def alike(tmp_path):
    """Forty concepts with n-grams in common, and mentions of two of them."""
    entities = [Entity(f"C{i:02d}", f"heart failure type {i}", []) for i in range(40)]
    test = tmp_path / "dev.pubtator"
    lines = ["1|t|Heart failure type 7, heart failure type 12"]
    lines += ["1\t0\t20\tHeart failure type 7\tT047\tC07"]
    lines += ["1\t22\t43\theart failure type 12\tT047\tC12", ""]
    test.write_text("\n".join(lines), encoding="utf8")
    return FaissKnowledgeBase.from_entities(entities), test


def test_scispacy_gets_the_same_names(alike):
    pytest.importorskip("nmslib")
    found = dict(compare_peers(*alike, 0, max_minutes=5, seed=0))
    for linker in ("ours", "scispacy"):
        assert (found[linker]["names"], found[linker]["mentions"]) == (40, 2)
        assert found[linker]["recall_at_64"] == 1.0
        assert found[linker]["build_seconds"] > 0


def test_scispacy_may_take_too_long(alike):
    pytest.importorskip("nmslib")
    found = dict(compare_peers(*alike, 0, max_minutes=1e-6, seed=0))
    assert "not built within" in found["scispacy"]["note"]
    assert "note" not in found["ours"]
