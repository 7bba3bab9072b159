import os
import shutil

import pytest
import srsly

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import storage
from spacy_metric_el.kb.storage import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    file_checksum,
    read_manifest,
    verify_checksums,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "kb"
    folder.mkdir()
    (folder / "a.bin").write_bytes(bytes(100))
    (folder / "b.bin").write_bytes(b"")
    write_manifest(folder, {"entities": 3})
    return folder


def change_manifest(folder, **changes):
    manifest = srsly.read_json(folder / MANIFEST)
    srsly.write_json(folder / MANIFEST, {**manifest, **changes})


def code_of(function, *args):
    with pytest.raises(MetricELError) as error:
        function(*args)
    return error.value.code


def test_a_manifest_lists_the_files_and_keeps_its_content(folder):
    manifest = read_manifest(folder)
    assert manifest["entities"] == 3
    assert (manifest["format"], manifest["format_version"]) == (FORMAT, FORMAT_VERSION)
    assert {name: entry["bytes"] for name, entry in manifest["files"].items()} == {
        "a.bin": 100,
        "b.bin": 0,
    }
    assert manifest["files"]["b.bin"]["sha256"] == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    verify_checksums(folder)


def test_a_folder_without_a_manifest(folder, tmp_path):
    (folder / MANIFEST).unlink()
    assert code_of(read_manifest, folder) == "E132"
    assert code_of(read_manifest, tmp_path / "nowhere") == "E132"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'"kb"', b"{}", b"null"])
def test_a_manifest_that_is_none(folder, content):
    (folder / MANIFEST).write_bytes(content)
    assert code_of(read_manifest, folder) == "E133"


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": FORMAT_VERSION + 1},
        {"format_version": "1"},
        {"format_version": None},
        {"format": "other"},
    ],
)
def test_a_manifest_of_another_format_or_a_newer_version(folder, changes):
    change_manifest(folder, **changes)
    with pytest.raises(MetricELError) as error:
        read_manifest(folder)
    assert error.value.code == "E133"
    assert repr(next(iter(changes.values()))) in str(error.value)


@pytest.mark.parametrize(
    "files",
    [
        None,
        ["a.bin"],
        {"a.bin": 100},
        {"a.bin": {"bytes": 100}},
        {"a.bin": {"sha256": "e3b0"}},
        {"a.bin": {"bytes": "100", "sha256": "e3b0"}},
    ],
)
def test_a_manifest_with_a_broken_list_of_files(folder, files):
    change_manifest(folder, files=files)
    assert code_of(read_manifest, folder) == "E133"
    assert code_of(verify_checksums, folder) == "E133"


def test_a_manifest_without_a_list_of_files(folder):
    srsly.write_json(folder / MANIFEST, {"format": FORMAT, "format_version": FORMAT_VERSION})
    assert code_of(read_manifest, folder) == "E133"


def test_a_manifest_without_what_the_caller_needs(folder):
    assert read_manifest(folder, {"entities": int})["entities"] == 3
    assert code_of(read_manifest, folder, {"entities": str}) == "E133"
    with pytest.raises(MetricELError, match="`meta`") as error:
        read_manifest(folder, {"meta": dict})
    assert error.value.code == "E133"


def test_a_truncated_file(folder):
    os.truncate(folder / "a.bin", 99)
    with pytest.raises(MetricELError) as error:
        read_manifest(folder)
    assert error.value.code == "E134"
    assert "expected 100, found 99" in str(error.value)
    assert str(folder / "a.bin") in str(error.value)


def test_a_missing_file(folder):
    (folder / "b.bin").unlink()
    assert code_of(read_manifest, folder) == "E134"


@pytest.mark.parametrize("position", [0, 57, 99])
def test_a_flipped_byte_is_found_at_once_or_by_the_checksum(monkeypatch, folder, position):
    monkeypatch.setattr(storage, "HEAD", 57)
    write_manifest(folder, {})
    content = bytearray((folder / "a.bin").read_bytes())
    content[position] ^= 1
    (folder / "a.bin").write_bytes(content)
    if position < 57:
        assert code_of(read_manifest, folder) == "E134"
    else:
        read_manifest(folder)
    assert code_of(verify_checksums, folder) == "E134"


def test_the_checksum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_checksum(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_copied_folder_is_valid(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    verify_checksums(tmp_path / "copy")
