import os
import pickle
import shutil
from collections import Counter
from threading import Event, Thread

import pytest
import srsly
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el import files
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity, FaissKnowledgeBase, count_mentions
from spacy_metric_el.kb import knowledge_base as knowledge_base_module
from spacy_metric_el.kb.index.faiss_index import INDEX_FILE
from spacy_metric_el.kb.index.row_vectors import make_row_vectors, read_vectors
from spacy_metric_el.kb.knowledge_base import OPENINGS
from spacy_metric_el.kb.records import ENTITIES_FILE, NAMES_FILE, open_records
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


def found_in(kb):
    """RETURNS (list): Similarities and rows that are nearest to some queries."""
    return [values.tolist() for values in kb.require_vectors().search(QUERIES, 5)]


def vectors_in(folder):
    """RETURNS (Path): The folder of vectors that the manifest names."""
    return folder / srsly.read_json(folder / MANIFEST)["vectors"]


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


# Vectors


def test_vectors_that_are_missing_are_asked_for(kb):
    assert kb.require_vectors() is kb.vectors
    assert code_of(make_kb(vectors=False).require_vectors) == "E136"


def test_other_vectors_beside_the_same_records(saved):
    kb = FaissKnowledgeBase.from_disk(saved)
    other = some_vectors(kb.records, "another encoder", seed=9)
    found = kb.with_vectors(other)
    assert (found.records, found.vectors, found.meta) == (kb.records, other, kb.meta)
    assert kb.vectors.fingerprint == "encoder"
    # Its folder holds other vectors.
    assert found.path is None
    assert kb.with_vectors(kb.vectors) is kb
    assert kb.with_vectors(None).vectors is None


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
        assert found_in(found) == found_in(kb)
        assert found.vectors.fingerprint == "encoder"
    else:
        assert found.vectors is None
    assert disk_trip(found, tmp_path / "again").to_bytes() == kb.to_bytes()


def test_bytes_leave_no_folder_behind(kb, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = FaissKnowledgeBase.from_bytes(kb.to_bytes())
    assert not os.listdir(tmp_path)
    assert found.path is None
    assert found_in(found) == found_in(kb)
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
        kb.vectors = make_row_vectors(unit_vectors(3), kb.vectors.names[:3], "encoder")
    else:
        kb.vectors = None
    found = pickle.loads(pickle.dumps(kb))
    assert (found.vectors is None) == (change == "gone")
    if change != "gone":
        assert found_in(found) == found_in(kb)


def test_a_folder_that_is_gone_is_pickled_as_a_whole(saved):
    kb = FaissKnowledgeBase.from_disk(saved)
    saved.rename(saved.with_name("moved"))
    found = pickle.loads(pickle.dumps(kb))
    assert found_in(found) == found_in(kb)


def test_its_own_folder_gets_the_vectors_only(saved):
    kb = FaissKnowledgeBase.from_disk(saved)
    before, old = files_in(saved), vectors_in(saved)
    kb.vectors = some_vectors(kb.records, "another encoder", seed=9)
    kb.meta["source"] = "changed"
    kb.to_disk(saved)
    after, new = files_in(saved), vectors_in(saved)
    assert not old.exists()
    changed = {name for name, content in after.items() if before.get(name) != content}
    assert changed == {MANIFEST, *(f"{new.name}/{name}" for name in files_in(new))}
    assert before.keys() - after.keys() == {n for n in before if n.startswith(old.name)}
    found = FaissKnowledgeBase.from_disk(saved)
    assert found.vectors.fingerprint == "another encoder"
    assert found.meta == {"source": "by hand"}
    assert found_in(found) == found_in(kb)


def test_its_own_folder_without_vectors_stays_as_it_is(tmp_path):
    make_kb(vectors=False).to_disk(tmp_path / "kb")
    before = files_in(tmp_path)
    FaissKnowledgeBase.from_disk(tmp_path / "kb").to_disk(str(tmp_path / "kb"))
    assert files_in(tmp_path) == before


def test_vectors_that_are_stored_take_the_place_of_the_old_ones(saved):
    kb, other = FaissKnowledgeBase.from_disk(saved), FaissKnowledgeBase.from_disk(saved)
    before, expected = found_in(other), some_vectors(kb.records, "another encoder", seed=9)
    kb.store_vectors(expected)
    assert kb.vectors is expected
    assert len(pickle.dumps(kb)) < 300
    assert [path.name for path in saved.glob("vectors*")] == [vectors_in(saved).name]
    # What is open stays what it is.
    assert found_in(other) == before
    assert found_in(FaissKnowledgeBase.from_disk(saved)) == found_in(kb)
    FaissKnowledgeBase.verify(saved)


def times_in(folder):
    """RETURNS (dict): When each file and folder was last written, and which file it is."""
    found = {path: path.stat() for path in [folder, *folder.rglob("*")]}
    return {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in found.items()}


@pytest.mark.parametrize(
    "store",
    [lambda kb: kb.store_vectors(kb.vectors), lambda kb: kb.to_disk(kb.path)],
    ids=["store_vectors", "to_disk"],
)
def test_vectors_that_are_there_are_not_written_again(saved, store):
    kb, again = FaissKnowledgeBase.from_disk(saved), some_vectors(make_kb().records)
    before, times = files_in(saved), times_in(saved)
    kb.vectors = again
    store(kb)
    assert times_in(saved) == times
    assert files_in(saved) == before
    assert kb.vectors is again
    # A worker maps them.
    assert len(pickle.dumps(kb)) < 300


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_vectors_that_are_not_whole_are_written_again(saved, damage):
    kb, before = FaissKnowledgeBase.from_disk(saved), files_in(saved)
    if damage == "gone":
        shutil.rmtree(vectors_in(saved))
    else:
        # Not in place: the knowledge base has the file mapped.
        file = vectors_in(saved) / INDEX_FILE
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content[:-1])
    kb.store_vectors(some_vectors(kb.records))
    assert files_in(saved) == before


def test_vectors_without_a_folder_are_not_stored(kb):
    with pytest.raises(FileNotFoundError):
        kb.store_vectors(kb.vectors)


def test_a_folder_that_is_replaced_while_vectors_are_written_stays_as_it_is(saved, monkeypatch):
    kb = FaissKnowledgeBase.from_disk(saved)
    other = FaissKnowledgeBase.from_entities([Entity("X1", "another vocabulary", [])])
    write = knowledge_base_module.write_vectors

    def replace_meanwhile(vectors, folder):
        write(vectors, folder)
        other.to_disk(saved)

    monkeypatch.setattr(knowledge_base_module, "write_vectors", replace_meanwhile)
    with pytest.raises(FileNotFoundError, match="another"):
        kb.store_vectors(some_vectors(kb.records, "other"))
    FaissKnowledgeBase.verify(saved)
    assert list(FaissKnowledgeBase.from_disk(saved)) == ["X1"]
    assert FaissKnowledgeBase.from_disk(saved).vectors is None


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_a_folder_that_holds_another_vocabulary_gets_no_vectors_of_this_one(saved, change):
    kb = FaissKnowledgeBase.from_disk(saved)
    if change == "replaced":
        FaissKnowledgeBase.from_entities([*ENTITIES, Entity("D1", "one", [])]).to_disk(saved)
    else:
        saved.rename(saved.with_name("moved"))
    before = files_in(saved.parent)
    with pytest.raises(FileNotFoundError, match="another"):
        kb.store_vectors(some_vectors(kb.records, "another encoder"))
    assert files_in(saved.parent) == before
    # A worker gets what is open here, and its own folder can be written again.
    assert list(pickle.loads(pickle.dumps(kb))) == list(kb)
    kb.to_disk(saved)
    assert list(FaissKnowledgeBase.from_disk(saved)) == list(kb)


def test_a_folder_of_version_0_1_opens_and_takes_new_vectors(saved):
    expected = found_in(FaissKnowledgeBase.from_disk(saved))
    manifest = srsly.read_json(saved / MANIFEST)
    (saved / manifest.pop("vectors")).rename(saved / "vectors")
    srsly.write_json(saved / MANIFEST, manifest)
    FaissKnowledgeBase.verify(saved)
    kb = FaissKnowledgeBase.from_disk(saved)
    assert found_in(kb) == expected
    kb.store_vectors(some_vectors(kb.records, "another encoder"))
    assert not (saved / "vectors").exists()
    assert FaissKnowledgeBase.from_disk(saved).vectors.fingerprint == "another encoder"


@pytest.mark.parametrize(
    "place", ["..", "/", "vectors-/..", "vectors/x", "names.arrow", 7, ["vectors"]]
)
def test_vectors_lie_nowhere_else(saved, place):
    manifest = srsly.read_json(saved / MANIFEST)
    srsly.write_json(saved / MANIFEST, {**manifest, "vectors": place})
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E133"
    assert code_of(FaissKnowledgeBase.verify, saved) == "E133"


def without_key(saved):
    manifest = srsly.read_json(saved / MANIFEST)
    del manifest["vectors"]
    srsly.write_json(saved / MANIFEST, manifest)


@pytest.mark.parametrize("missing", ["folder", "manifest of the folder"])
def test_vectors_that_the_manifest_names_are_there(saved, missing):
    vectors = vectors_in(saved)
    if missing == "folder":
        shutil.rmtree(vectors)
    else:
        (vectors / MANIFEST).unlink()
    for function in (FaissKnowledgeBase.from_disk, FaissKnowledgeBase.verify):
        with pytest.raises(MetricELError, match=vectors.name) as error:
            function(saved)
        assert error.value.code == "E135"
    # What a manifest does not name need not be there.
    without_key(saved)
    FaissKnowledgeBase.verify(saved)
    assert FaissKnowledgeBase.from_disk(saved).vectors is None


# Readers beside a writer


def test_vectors_that_go_while_a_folder_opens_are_looked_for_again(saved, monkeypatch):
    writer, late = FaissKnowledgeBase.from_disk(saved), [True]

    def open_late(buffers):
        if late:
            late.clear()
            writer.store_vectors(some_vectors(writer.records, "another encoder"))
        return open_records(buffers)

    monkeypatch.setattr(knowledge_base_module, "open_records", open_late)
    assert FaissKnowledgeBase.from_disk(saved).vectors.fingerprint == "another encoder"


@pytest.mark.parametrize("times", [1, 3, OPENINGS])
def test_a_folder_that_is_replaced_while_it_opens_is_opened_again(saved, monkeypatch, times):
    writer, seeds = FaissKnowledgeBase.from_disk(saved), iter(range(1, times + 1))

    def read_late(folder):
        for seed in seeds:
            writer.store_vectors(some_vectors(writer.records, f"encoder {seed}", seed=seed))
            break
        return read_vectors(folder)

    monkeypatch.setattr(knowledge_base_module, "read_vectors", read_late)
    found = FaissKnowledgeBase.from_disk(saved)
    assert found.vectors.fingerprint == f"encoder {times}"
    assert found_in(found) == found_in(writer)


def test_files_that_go_while_they_are_read_are_looked_for_again(saved, monkeypatch):
    writer, late = FaissKnowledgeBase.from_disk(saved), [True]

    def read_late(folder):
        if late:
            late.clear()
            writer.store_vectors(some_vectors(writer.records, "another encoder"))
            raise FileNotFoundError(folder)
        return read_vectors(folder)

    monkeypatch.setattr(knowledge_base_module, "read_vectors", read_late)
    assert FaissKnowledgeBase.from_disk(saved).vectors.fingerprint == "another encoder"


@pytest.fixture
def pauses(monkeypatch):
    """RETURNS (list[float]): Seconds that a reader would have waited."""
    pauses = []
    monkeypatch.setattr(knowledge_base_module.time, "sleep", pauses.append)
    return pauses


def test_a_folder_that_is_missing_while_another_takes_its_place_is_waited_for(saved, monkeypatch):
    taken, awaited, rename = Event(), Event(), os.rename

    def rename_slowly(source, target):
        if ".new-" in str(source):
            taken.set()
            assert awaited.wait(timeout=60)
        rename(source, target)

    def wait_for_the_writer(seconds):
        awaited.set()
        writer.join(timeout=60)

    other = FaissKnowledgeBase.from_entities([Entity("D1", "one", [])])
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    monkeypatch.setattr(files.os, "rename", rename_slowly)
    monkeypatch.setattr(knowledge_base_module.time, "sleep", wait_for_the_writer)
    writer = Thread(target=other.to_disk, args=[saved])
    writer.start()
    try:
        assert taken.wait(timeout=60)
        assert not saved.exists()
        assert list(FaissKnowledgeBase.from_disk(saved)) == ["D1"]
    finally:
        awaited.set()
        writer.join(timeout=60)


def test_a_folder_that_is_replaced_by_an_equal_one_is_opened_again(saved, monkeypatch, pauses):
    late = [True]
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)

    def open_late(buffers):
        if late:
            late.clear()
            make_kb().to_disk(saved)
            raise FileNotFoundError(saved)
        return open_records(buffers)

    monkeypatch.setattr(knowledge_base_module, "open_records", open_late)
    assert found_in(FaissKnowledgeBase.from_disk(saved)) == found_in(make_kb())
    assert pauses == []


@pytest.mark.parametrize("place", ["nowhere", "nowhere/else", "empty"])
def test_a_folder_that_is_none_is_not_waited_for(tmp_path, pauses, place):
    (tmp_path / "empty").mkdir()
    assert code_of(FaissKnowledgeBase.from_disk, tmp_path / place) == "E132"
    assert pauses == []


def test_a_folder_that_never_comes_back_is_given_up(saved, pauses):
    taken_away = saved.parent / f".{saved.name}.old-machine-1-x"
    taken_away.mkdir()
    saved.rename(taken_away / saved.name)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E132"
    assert 0 < sum(pauses) <= 0.1


def test_damage_is_told_at_once(saved, monkeypatch):
    opened = []
    monkeypatch.setattr(
        knowledge_base_module,
        "read_vectors",
        lambda folder: opened.append(folder) or read_vectors(folder),
    )
    os.truncate(vectors_in(saved) / INDEX_FILE, 10)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E134"
    assert opened == [vectors_in(saved)]


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


@pytest.mark.parametrize("vectors", [True, False])
def test_the_same_knowledge_base_makes_the_same_bytes(vectors):
    assert make_kb(vectors).to_bytes() == make_kb(vectors).to_bytes()


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


@pytest.mark.parametrize("name", [ENTITIES_FILE, NAMES_FILE, INDEX_FILE])
def test_files_cut_short(saved, name):
    path = vectors_in(saved) / name if name == INDEX_FILE else saved / name
    os.truncate(path, path.stat().st_size // 2)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E134"


@pytest.mark.parametrize("name", [ENTITIES_FILE, NAMES_FILE])
def test_tables_that_are_none(saved, name):
    size = (saved / name).stat().st_size
    (saved / name).write_bytes(b"x" * size)
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E134"
    manifest = srsly.read_json(saved / "manifest.json")
    write_manifest(saved, {"meta": manifest["meta"]})
    assert code_of(FaissKnowledgeBase.from_disk, saved) == "E135"


@pytest.mark.parametrize("name", [ENTITIES_FILE, NAMES_FILE, INDEX_FILE])
def test_verify_finds_a_flipped_byte(saved, name):
    FaissKnowledgeBase.verify(saved)
    path = vectors_in(saved) / name if name == INDEX_FILE else saved / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert code_of(FaissKnowledgeBase.verify, saved) == "E134"


def test_the_vectors_alone_are_no_knowledge_base(saved):
    assert code_of(FaissKnowledgeBase.from_disk, vectors_in(saved)) == "E133"


def test_names_are_stored_in_their_normal_form(kb):
    keys = kb.records.names["key"].to_pylist()
    texts = [alias for entity in ENTITIES for alias in (entity.canonical_name, *entity.aliases)]
    assert set(keys) == {normalise_name(text) for text in [*texts, *(t for t, _ in COUNTS)]}
