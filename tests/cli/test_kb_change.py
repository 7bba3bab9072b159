"""`kb add`, `kb remove`, `kb merge`, `kb export` and `kb verify`."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding import kb_rows
from spacy_metric_el.encoding.name_encoder import NameEncoder
from spacy_metric_el.kb import Entity, FaissKnowledgeBase
from spacy_metric_el.kb import knowledge_base as knowledge_base_module
from spacy_metric_el.kb.importers import read_entities
from spacy_metric_el.kb.index.row_vectors import make_row_vectors

from ..util import LINKER, VOCABULARY, write_jsonl

NEW = [Entity("C05", "aspirin", ["Aspro"]), Entity("C70", "zeal", ["ardour"])]


@pytest.fixture
def kb(files, tmp_path):
    """A knowledge base with vectors of the pipeline that listens."""
    return shutil.copytree(files.listener_kb, tmp_path / "some.kb")


@pytest.fixture
def more(tmp_path):
    path = tmp_path / "more.jsonl"
    write_jsonl(path, NEW)
    return path


@pytest.fixture
def fitted(files, tmp_path):
    """A pipeline that was fitted to the vocabulary, and keeps what it learned."""
    nlp = spacy.load(files.listener)
    nlp.get_pipe(LINKER).load_kb(files.listener_kb, nlp=nlp)
    nlp.to_disk(tmp_path / "fitted")
    return tmp_path / "fitted"


@pytest.fixture
def encoded_names(monkeypatch):
    """The names that go through the encoder."""
    names, encode = [], NameEncoder.encode

    def note(self, texts, **settings):
        names.extend(texts)
        return encode(self, texts, **settings)

    monkeypatch.setattr(NameEncoder, "encode", note)
    return names


def test_add_changes_the_folder_and_encodes_what_is_new(run, fitted, kb, more, encoded_names):
    result = run("kb", "add", kb, more, "--model", fitted)
    assert result.exit_code == 0, result.output
    assert set(encoded_names) == {"Aspro", "zeal", "ardour"}
    found = FaissKnowledgeBase.from_disk(kb)
    assert found["C05"].aliases == ["aspirin", "acetylsalicylic acid", "ASA", "Aspro"]
    assert found.vectors.names.tolist() == list(range(found.records.n_names))
    assert [source["name"] for source in found.meta["sources"]] == ["more.jsonl"]


def test_added_vectors_are_those_of_a_new_build(run, files, fitted, kb, more, tmp_path):
    whole = tmp_path / "whole.kb"
    assert run("kb", "add", kb, more, "--model", fitted).exit_code == 0
    assert run("kb", "build", whole, files.vocabulary, more, "--model", fitted).exit_code == 0
    found, expected = (FaissKnowledgeBase.from_disk(path) for path in (kb, whole))
    assert found.records.names.equals(expected.records.names)
    rows = np.arange(expected.vectors.n_rows)
    np.testing.assert_array_equal(found.vectors.names, expected.vectors.names)
    np.testing.assert_allclose(found.vectors.decode(rows), expected.vectors.decode(rows), atol=1e-5)


@pytest.fixture
def written(monkeypatch):
    """How many rows of vectors are written, each time, and which folders are opened."""
    written = SimpleNamespace(rows=[], opened=[])
    write, read = knowledge_base_module.write_vectors, knowledge_base_module.read_manifest

    def note_rows(vectors, folder):
        written.rows.append(vectors.n_rows)
        write(vectors, folder)

    def note_folder(folder, *args):
        written.opened.append(folder)
        return read(folder, *args)

    monkeypatch.setattr(knowledge_base_module, "write_vectors", note_rows)
    monkeypatch.setattr(knowledge_base_module, "read_manifest", note_folder)
    return written


def arguments(command, files, kb, more, output):
    """RETURNS (list): Of a command that makes the knowledge base in `output` of others and new concepts."""
    if command == "add":
        return [kb, more, "--output", output]
    if command == "merge":
        FaissKnowledgeBase.from_entities(NEW).to_disk(output.with_name("new.kb"))
        return [output, kb, output.with_name("new.kb")]
    return [output, files.vocabulary, more]


@pytest.mark.parametrize("command", ["add", "merge", "build"])
def test_vectors_are_written_once_into_a_folder_that_nobody_opens(
    run, files, fitted, kb, more, tmp_path, written, command
):
    output = tmp_path / "made" / "both.kb"
    args = arguments(command, files, kb, more, output)
    written.opened.clear()
    result = run("kb", command, *args, "--model", fitted)
    assert result.exit_code == 0, result.output
    found = FaissKnowledgeBase.from_disk(output)
    assert written.rows == [found.records.n_names]
    assert [path.name for path in written.opened if ".new-" in str(path)] == []
    assert [path for path in output.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("command", ["add", "merge", "build"])
def test_vectors_wait_beside_the_folder_that_is_made(
    run, files, fitted, kb, more, tmp_path, monkeypatch, command
):
    output, waiting, buffer = tmp_path / "made" / "both.kb", [], kb_rows.row_buffer
    monkeypatch.setattr(
        kb_rows, "row_buffer", lambda *args: waiting.append(args[2]) or buffer(*args)
    )
    args = arguments(command, files, kb, more, output)
    assert run("kb", command, *args, "--model", fitted).exit_code == 0
    assert waiting == [output.parent]


def test_what_is_new_is_encoded_at_the_next_load(run, fitted, kb, more, encoded_names):
    assert run("kb", "add", kb, more).exit_code == 0
    assert encoded_names == []
    found = FaissKnowledgeBase.from_disk(kb)
    assert found.vectors.n_rows == found.records.n_names - 3
    assert run("kb", "verify", kb).exit_code == 0
    nlp = spacy.load(fitted)
    nlp.get_pipe(LINKER).load_kb(kb, nlp=nlp)
    assert set(encoded_names) == {"Aspro", "zeal", "ardour"}


def test_add_to_another_folder_leaves_the_first_one(run, kb, more, tmp_path):
    before = (kb / "manifest.json").read_bytes()
    assert run("kb", "add", kb, more, "--output", tmp_path / "both.kb").exit_code == 0
    assert (kb / "manifest.json").read_bytes() == before
    assert "C70" in FaissKnowledgeBase.from_disk(tmp_path / "both.kb")


def test_add_counts_mentions(run, files, kb):
    assert run("kb", "add", kb, "--mentions", files.train).exit_code == 0
    found = FaissKnowledgeBase.from_disk(kb)
    assert dict(found.lookup("cold"))["C03"] > 0.5
    assert "C77" in found


def test_nothing_to_add_is_refused(fails, kb):
    fails("E316", "kb", "add", kb)


def test_remove(run, kb, tmp_path, fails):
    listed = tmp_path / "retired.txt"
    listed.write_text("C04\n\nC05\n", encoding="utf8")
    assert run("kb", "remove", kb, "C01", "--file", listed).exit_code == 0
    found = FaissKnowledgeBase.from_disk(kb)
    gone = {"C01", "C04", "C05"}
    assert list(found) == [e.concept_id for e in VOCABULARY if e.concept_id not in gone]
    assert dict(found.lookup("cold")).keys() == {"C03"}
    assert found.vectors.n_rows == found.records.n_names
    fails("E314", "kb", "remove", kb, "C01")
    fails("E314", "kb", "remove", kb)
    fails("E103", "kb", "remove", kb, "--file", tmp_path / "none.txt")


def test_merge(run, files, kb, more, tmp_path):
    other, output = tmp_path / "other.kb", tmp_path / "both.kb"
    assert run("kb", "build", other, more).exit_code == 0
    assert run("kb", "merge", output, kb, other).exit_code == 0
    found = FaissKnowledgeBase.from_disk(output)
    assert len(found) == len(VOCABULARY) + 1
    assert found.vectors.fingerprint == FaissKnowledgeBase.from_disk(kb).vectors.fingerprint


def test_changes_of_what_is_no_knowledge_base(fails, files, tmp_path):
    nowhere = tmp_path / "nowhere"
    fails("E132", "kb", "add", nowhere, files.vocabulary)
    fails("E132", "kb", "remove", nowhere, "C01")
    fails("E132", "kb", "merge", tmp_path / "out", nowhere)
    fails("E138", "kb", "merge", files.fresh, files.listener_kb)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_export_can_be_read_again(run, kb, tmp_path, name):
    path = tmp_path / "deep" / name
    assert run("kb", "export", kb, path).exit_code == 0
    entities = list(FaissKnowledgeBase.from_disk(kb).entities())
    assert list(read_entities(path)) == entities


def test_verify(run, files, kb):
    result = run("kb", "verify", kb, "--model", files.listener, "--sample", 5)
    assert result.exit_code == 0, result.output
    assert "cosines of 1.000 or more" in result.output


def test_verify_finds_damage(fails, files, kb):
    fails("E005", "kb", "verify", kb, "--model", files.other)
    file = kb / "names.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    fails("E134", "kb", "verify", kb)


def test_verify_finds_vectors_of_something_else(run, fails, files, kb):
    found = FaissKnowledgeBase.from_disk(kb)
    old = found.vectors
    rows = np.arange(old.n_rows)
    rows[:2] = 1, 0
    mixed = make_row_vectors(
        old.decode(rows)[:, old.n_empty :], old.names, old.fingerprint, n_empty=old.n_empty
    )
    found.with_vectors(mixed).to_disk(kb)
    assert run("kb", "verify", kb).exit_code == 0
    fails("E315", "kb", "verify", kb, "--model", files.listener)
