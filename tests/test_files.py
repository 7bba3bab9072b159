import os

import pytest

from spacy_metric_el import files
from spacy_metric_el.files import replaced_file, replaced_folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "kb"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"old")
    return folder


def test_a_folder_is_replaced_as_a_whole(folder):
    with replaced_folder(folder) as fresh:
        (fresh / "c.bin").write_bytes(b"c")
        assert (folder / "a.bin").is_file()
    assert [path.name for path in folder.iterdir()] == ["c.bin"]
    assert os.listdir(folder.parent) == [folder.name]


def test_missing_parents_of_a_folder_are_made(tmp_path):
    with replaced_folder(tmp_path / "x" / "y") as fresh:
        (fresh / "c.bin").write_bytes(b"c")
    assert (tmp_path / "x" / "y" / "c.bin").read_bytes() == b"c"


def test_others_can_read_the_folder_as_the_umask_says(tmp_path):
    (tmp_path / "usual").mkdir()
    with replaced_folder(tmp_path / "kb"):
        pass
    assert (tmp_path / "kb").stat().st_mode == (tmp_path / "usual").stat().st_mode


def fill_half(folder, exception):
    with replaced_folder(folder) as fresh:
        (fresh / "a.bin").write_bytes(b"half")
        raise exception


@pytest.mark.parametrize("exception", [OSError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_folder_and_no_other(folder, exception):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(exception):
        fill_half(folder, exception)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert os.listdir(folder.parent) == [folder.name]


def test_an_exception_makes_no_new_folder(tmp_path):
    with pytest.raises(OSError, match="disk full"):
        fill_half(tmp_path / "kb", OSError("disk full"))
    assert not os.listdir(tmp_path)


def test_a_failed_rename_puts_the_old_folder_back(folder, monkeypatch):
    rename = os.rename

    def fail_for_the_new_one(source, target):
        if ".new-" in str(source):
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(files.os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="no"), replaced_folder(folder):
        pass
    assert (folder / "a.bin").read_bytes() == b"old"
    assert os.listdir(folder.parent) == [folder.name]


def test_a_file_is_replaced_as_a_whole(folder):
    path = folder / "a.bin"
    with replaced_file(path) as fresh:
        fresh.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(folder) == [path.name]


def test_missing_parents_of_a_file_are_made(tmp_path):
    path = tmp_path / "x" / "y" / "c.bin"
    with replaced_file(path) as fresh:
        fresh.write_bytes(b"c")
    assert path.read_bytes() == b"c"


def write_half(path, exception):
    with replaced_file(path) as fresh:
        fresh.write_bytes(b"half")
        raise exception


@pytest.mark.parametrize("exception", [OSError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_no_other(folder, exception):
    with pytest.raises(exception):
        write_half(folder / "a.bin", exception)
    assert (folder / "a.bin").read_bytes() == b"old"
    assert os.listdir(folder) == ["a.bin"]


def test_a_file_that_was_not_begun_is_no_new_file(tmp_path):
    with pytest.raises(OSError, match="disk full"), replaced_file(tmp_path / "c.bin"):
        raise OSError("disk full")
    assert not os.listdir(tmp_path)
