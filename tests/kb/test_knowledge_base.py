import os
import pickle
from collections import Counter

import numpy as np
import pytest
import srsly
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity, FaissKnowledgeBase, count_mentions
from spacy_metric_el.kb.index.faiss_index import INDEX_FILE
from spacy_metric_el.kb.index.row_vectors import make_row_vectors
from spacy_metric_el.kb.ranking import ENTITY_ROW
from spacy_metric_el.kb.records import ENTITIES_FILE, NAMES_FILE
from spacy_metric_el.kb.storage import MANIFEST, write_manifest
from spacy_metric_el.text import normalise_name

from .vocabulary import COUNTS, ENTITIES, make_kb, some_vectors, unit_vectors

QUERIES = unit_vectors(7, seed=5)


@pytest.fixture
def kb():
    return make_kb()


@pytest.fixture
def saved(tmp_path):
    make_kb().to_disk(tmp_path / "kb")
    return tmp_path / "kb"


def code_of(function, *args, **kwargs):
    with pytest.raises(MetricELError) as error:
        function(*args, **kwargs)
    return error.value.code


def disk_trip(kb, folder):
    kb.to_disk(folder / "trip")
    return FaissKnowledgeBase.from_disk(folder / "trip")


def bytes_trip(kb, folder):
    return FaissKnowledgeBase.from_bytes(kb.to_bytes())


def pickle_trip(kb, folder):
    return pickle.loads(pickle.dumps(kb))


def pickle_from_disk_trip(kb, folder):
    return pickle_trip(disk_trip(kb, folder), folder)


def bytes_from_disk_trip(kb, folder):
    return bytes_trip(disk_trip(kb, folder), folder)


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Records


def test_it_is_a_collection_of_concepts(kb):
    assert len(kb) == 5
    assert list(kb) == ["C1", "C2", "C3", "C4", "C5"]
    assert [entity.concept_id for entity in kb.entities()] == list(kb)
    assert kb["C1"].canonical_name == "Common cold"
    assert isinstance(kb["C1"], Entity)
    assert kb["C5"] == Entity("C5", "Flu", ["Flu"])


def test_missing_concepts(kb):
    with pytest.raises(KeyError, match="C99"):
        kb["C99"]
    assert kb.get("C99") is None
    assert kb.get("C99", kb["C1"]) == kb["C1"]
    assert kb.get("C2") == kb["C2"]


@pytest.mark.parametrize("thing", [None, 1, b"C1", ("C1",), "c1", "", "C99"])
def test_things_it_does_not_contain(kb, thing):
    assert "C1" in kb
    assert thing not in kb


def test_lookup_comes_with_priors_best_first(kb):
    assert [cid for cid, _ in kb.lookup(" COLD")] == ["C1", "C2"]
    assert [p for _, p in kb.lookup("cold")] == pytest.approx([5.5 / 7, 1.5 / 7])
    assert {type(p) for _, p in kb.lookup("cold")} == {float}
    assert kb.lookup("acute rhinitis") == [("C1", 1.0)]
    assert kb.lookup("warm") == kb.lookup("") == []


def test_lookup_is_ordered_by_prior_before_concept_id():
    kb = FaissKnowledgeBase.from_entities(ENTITIES, {("mi", "C4"): 1})
    assert [cid for cid, _ in kb.lookup("MI")] == ["C4", "C3"]


def test_lookup_breaks_ties_by_concept_id(kb):
    assert kb.lookup("MI") == [("C3", pytest.approx(0.5)), ("C4", pytest.approx(0.5))]


mentions = st.lists(
    st.tuples(st.sampled_from(["a", "A", "b"]), st.lists(st.sampled_from(["C1", "C2"]))),
)


@given(mentions)
def test_count_mentions(mentions):
    pairs = [(text, cid) for text, ids in mentions for cid in ids]
    assert count_mentions(mentions) == dict(Counter(pairs))


# Candidates


def naive_candidates(kb, query, prior_weight, top_k):
    vectors = kb.vectors.index.reconstruct_n(0, kb.vectors.n_rows)
    names = kb.records.name_texts()
    best = dict.fromkeys(kb, 0.0)
    for row, (kind, ref) in enumerate(zip(kb.vectors.kinds, kb.vectors.refs, strict=True)):
        similarity = max(float(query @ vectors[row]), 0.0)
        bearers = kb.lookup(names[ref]) if kind == 0 else [(list(kb)[ref], 1.0)]
        for cid, prior in bearers:
            best[cid] = max(best[cid], similarity * prior**prior_weight)
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:top_k]


@pytest.mark.parametrize("prior_weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("top_k", [1, 3, 5])
def test_candidates_equal_a_loop_over_all_rows(kb, prior_weight, top_k):
    found = kb.candidates(QUERIES, top_k=top_k, prior_weight=prior_weight)
    assert len(found) == len(QUERIES)
    for query, candidates in zip(QUERIES, found, strict=True):
        expected = naive_candidates(kb, query, prior_weight, top_k)
        assert [cid for cid, _ in candidates] == [cid for cid, _ in expected]
        assert [s for _, s in candidates] == pytest.approx([s for _, s in expected], abs=1e-6)
        assert {type(score) for _, score in candidates} == {float}


def test_only_the_nearest_rows_are_looked_at(kb):
    wide, narrow = (kb.candidates(QUERIES, top_k=1, search_rows=k) for k in (64, 1))
    assert wide == narrow
    assert all(len(found) <= 2 for found in kb.candidates(QUERIES, top_k=2, search_rows=1))
    assert any(len(found) == 5 for found in kb.candidates(QUERIES, top_k=9, search_rows=1))


def test_equal_scores_go_by_concept_id(kb):
    same = np.repeat(unit_vectors(1), 5, axis=0)
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        kinds = np.full(5, ENTITY_ROW)
        kb.vectors = make_row_vectors(same, kinds, np.asarray(order), "encoder")
        ids = [cid for cid, _ in kb.candidates(same[:1], top_k=4)[0]]
        assert ids == ["C1", "C2", "C3", "C4"]


def test_no_queries_no_candidates(kb):
    assert kb.candidates(np.zeros((0, 4), dtype="float32"), top_k=3) == []


def test_queries_of_another_width(kb):
    assert code_of(kb.candidates, unit_vectors(2, width=6), top_k=3) == "E137"


def test_searches_without_vectors():
    kb = make_kb(vectors=False)
    assert code_of(kb.candidates, QUERIES, top_k=3) == "E136"
    assert code_of(kb.search_rows, QUERIES, 3) == "E136"
    assert code_of(kb.row_targets) == "E136"


def test_new_vectors_take_effect_after_a_search(kb):
    kb.candidates(QUERIES, top_k=5)
    first = kb.records.entity_index("C4")
    kb.vectors = make_row_vectors(QUERIES[:1], np.asarray([ENTITY_ROW]), np.asarray([first]), "new")
    assert kb.candidates(QUERIES[:1], top_k=5) == [[("C4", pytest.approx(1.0))]]


# Folders and bytes


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize(
    "trip",
    [disk_trip, bytes_trip, pickle_trip, pickle_from_disk_trip, bytes_from_disk_trip],
)
def test_round_trips(tmp_path, trip, vectors):
    kb = make_kb(vectors)
    found = trip(kb, tmp_path)
    assert list(found.entities()) == list(kb.entities())
    assert found.meta == {"source": "by hand"}
    for name in ("cold", "MI", "flu", "nothing"):
        assert found.lookup(name) == kb.lookup(name)
    if vectors:
        assert found.candidates(QUERIES, top_k=5) == kb.candidates(QUERIES, top_k=5)
        assert found.vectors.fingerprint == "encoder"
    else:
        assert found.vectors is None
    assert disk_trip(found, tmp_path / "again").to_bytes() == kb.to_bytes()


def test_bytes_leave_no_folder_behind(kb, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = FaissKnowledgeBase.from_bytes(kb.to_bytes())
    assert not os.listdir(tmp_path)
    assert found.path is None
    assert found.candidates(QUERIES, top_k=5) == kb.candidates(QUERIES, top_k=5)
    assert code_of(FaissKnowledgeBase.from_bytes, srsly.msgpack_dumps({})) == "E132"
    assert not os.listdir(tmp_path)


def test_a_saved_folder_is_pickled_as_its_path(saved):
    kb = FaissKnowledgeBase.from_disk(saved)
    assert len(pickle.dumps(kb)) < 300 < len(kb.to_bytes())
    assert pickle.loads(pickle.dumps(kb)).path == saved


@pytest.mark.parametrize("change", ["fingerprint", "rows", "gone"])
def test_other_vectors_than_the_saved_ones_are_pickled_with_them(saved, change):
    kb = FaissKnowledgeBase.from_disk(saved)
    if change == "fingerprint":
        kb.vectors = some_vectors(kb.records, "another encoder", seed=9)
    elif change == "rows":
        kinds, refs = kb.vectors.kinds[:3], kb.vectors.refs[:3]
        kb.vectors = make_row_vectors(unit_vectors(3), kinds, refs, "encoder")
    else:
        kb.vectors = None
    found = pickle.loads(pickle.dumps(kb))
    assert (found.vectors is None) == (change == "gone")
    if change != "gone":
        assert found.candidates(QUERIES, top_k=5) == kb.candidates(QUERIES, top_k=5)


def test_a_folder_that_is_gone_is_pickled_as_a_whole(saved):
    kb = FaissKnowledgeBase.from_disk(saved)
    saved.rename(saved.with_name("moved"))
    found = pickle.loads(pickle.dumps(kb))
    assert found.candidates(QUERIES, top_k=5) == kb.candidates(QUERIES, top_k=5)


def test_its_own_folder_gets_the_vectors_only(saved):
    kb = FaissKnowledgeBase.from_disk(saved)
    before = files_in(saved)
    kb.vectors = some_vectors(kb.records, "another encoder", seed=9)
    kb.meta["source"] = "changed"
    kb.to_disk(saved)
    changed = {name for name, content in files_in(saved).items() if before[name] != content}
    assert changed == {f"vectors/{MANIFEST}", "vectors/index.faiss"}
    found = FaissKnowledgeBase.from_disk(saved)
    assert found.vectors.fingerprint == "another encoder"
    assert found.candidates(QUERIES, top_k=5) == kb.candidates(QUERIES, top_k=5)


def test_its_own_folder_without_vectors_stays_as_it_is(tmp_path):
    make_kb(vectors=False).to_disk(tmp_path / "kb")
    before = files_in(tmp_path)
    FaissKnowledgeBase.from_disk(tmp_path / "kb").to_disk(str(tmp_path / "kb"))
    assert files_in(tmp_path) == before


def test_another_knowledge_base_is_replaced(saved):
    FaissKnowledgeBase.from_entities([Entity("D1", "one", [])]).to_disk(saved)
    found = FaissKnowledgeBase.from_disk(saved)
    assert list(found) == ["D1"]
    assert found.vectors is None


def test_a_foreign_folder_is_not_replaced(kb, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert code_of(kb.to_disk, tmp_path) == "E138"
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_empty_folder_is_filled(kb, tmp_path):
    (tmp_path / "kb").mkdir()
    kb.to_disk(tmp_path / "kb")
    assert list(FaissKnowledgeBase.from_disk(tmp_path / "kb")) == list(kb)


def test_the_same_knowledge_base_makes_the_same_bytes(kb):
    assert make_kb().to_bytes() == kb.to_bytes()


# Damage


def test_a_folder_that_is_none(tmp_path):
    assert code_of(FaissKnowledgeBase.from_disk, tmp_path) == "E132"
    assert code_of(FaissKnowledgeBase.from_disk, tmp_path / "nowhere") == "E132"


def test_a_newer_folder(saved):
    manifest = srsly.read_json(saved / MANIFEST)
    srsly.write_json(saved / MANIFEST, {**manifest, "format_version": 99})
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E133"


@pytest.mark.parametrize("key", ["files", "meta"])
def test_a_manifest_that_lacks_something(saved, key):
    manifest = srsly.read_json(saved / MANIFEST)
    del manifest[key]
    srsly.write_json(saved / MANIFEST, manifest)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E133"


@pytest.mark.parametrize("name", [ENTITIES_FILE, NAMES_FILE, f"vectors/{INDEX_FILE}"])
def test_files_cut_short(saved, name):
    os.truncate(saved / name, (saved / name).stat().st_size // 2)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E134"


@pytest.mark.parametrize("name", [ENTITIES_FILE, NAMES_FILE])
def test_tables_that_are_none(saved, name):
    size = (saved / name).stat().st_size
    (saved / name).write_bytes(b"x" * size)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E134"
    manifest = srsly.read_json(saved / "manifest.json")
    write_manifest(saved, {"meta": manifest["meta"]})
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E135"


@pytest.mark.parametrize("name", [ENTITIES_FILE, NAMES_FILE, f"vectors/{INDEX_FILE}"])
def test_verify_finds_a_flipped_byte(saved, name):
    FaissKnowledgeBase.verify(saved)
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    assert code_of(FaissKnowledgeBase.verify, saved) == "E134"


def test_the_vectors_alone_are_no_knowledge_base(saved):
    assert code_of(FaissKnowledgeBase.from_disk, saved / "vectors") == "E133"


def test_names_are_stored_in_their_normal_form(kb):
    keys = kb.records.names["key"].to_pylist()
    texts = [alias for entity in ENTITIES for alias in (entity.canonical_name, *entity.aliases)]
    assert set(keys) == {normalise_name(text) for text in [*texts, *(t for t, _ in COUNTS)]}
