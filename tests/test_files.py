import os
import signal
import socket
import subprocess
import sys

import pytest

from spacy_metric_el import files
from spacy_metric_el.files import is_being_replaced, replaced_file, replaced_folder, scratch_folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "kb"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"old")
    return folder


@pytest.fixture(params=[True, False], ids=["exchange", "no exchange"])
def can_exchange(request, monkeypatch):
    """Whether the system lets two folders change places."""
    if not request.param:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    return request.param


def test_a_folder_is_replaced_as_a_whole(folder, can_exchange):
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
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders")
def test_a_reader_never_finds_no_folder(folder, monkeypatch):
    # One that takes the old folder away first would stop here.
    monkeypatch.setattr(files.os, "rename", None)
    opened = os.open(folder, os.O_RDONLY)
    with replaced_folder(folder) as fresh:
        (fresh / "c.bin").write_bytes(b"c")
    assert [path.name for path in folder.iterdir()] == ["c.bin"]
    assert os.listdir(folder.parent) == [folder.name]
    # The old one is gone, whoever has it open.
    assert os.listdir(opened) == []
    os.close(opened)


@pytest.mark.parametrize("by_link", [False, True])
def test_a_folder_that_is_being_replaced(folder, monkeypatch, by_link):
    seen, rename = [], os.rename
    place = folder
    if by_link:
        (folder.parent / "links").mkdir()
        place = folder.parent / "links" / "other"
        place.symlink_to(folder)

    def note(source, target):
        seen.append(is_being_replaced(place))
        rename(source, target)
        seen.append(is_being_replaced(place))

    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    monkeypatch.setattr(files.os, "rename", note)
    with replaced_folder(folder):
        assert not is_being_replaced(place)
    # It is there, taken away, and there again.
    assert seen == [False, True, True, False]
    assert not is_being_replaced(place)


def test_a_folder_that_is_not_there_is_not_being_replaced(tmp_path):
    assert not is_being_replaced(tmp_path / "nowhere")
    assert not is_being_replaced(tmp_path / "nowhere" / "else")
    # Others' backups are none of it.
    (tmp_path / ".kb2.old-x").mkdir()
    assert not is_being_replaced(tmp_path / "kb")


def test_folders_of_which_one_is_missing_are_not_exchanged(folder):
    assert not files._exchange(folder, folder.with_name("other"))
    assert (folder / "a.bin").read_bytes() == b"old"


def test_other_systems_exchange_nothing(folder, monkeypatch):
    monkeypatch.setattr(files, "_libc", None)
    with replaced_folder(folder) as fresh:
        (fresh / "c.bin").write_bytes(b"c")
        assert not files._exchange(fresh, folder)
    assert [path.name for path in folder.iterdir()] == ["c.bin"]
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


# --- what killed processes leave ---

FILL = """
import os, signal, sys
from pathlib import Path
from spacy_metric_el.files import replaced_folder, scratch_folder

with scratch_folder(Path(sys.argv[1]).parent, ".build-"), replaced_folder(Path(sys.argv[1])) as fresh:
    (fresh / "half.bin").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed(folder):
    ended = subprocess.run([sys.executable, "-c", FILL, str(folder)])
    assert ended.returncode == -signal.SIGKILL
    left = sorted(path.name for path in folder.parent.iterdir() if path != folder)
    assert [name.split("-")[0] for name in left] == [".build", ".kb.new"]
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    with scratch_folder(folder.parent, ".build-"), replaced_folder(folder) as fresh:
        (fresh / "c.bin").write_bytes(b"c")
    assert os.listdir(folder.parent) == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["c.bin"]


def test_what_a_running_process_fills_stays(folder):
    with replaced_folder(folder) as first:
        with replaced_folder(folder) as second:
            (second / "2.bin").write_bytes(b"2")
        assert first.is_dir()
        (first / "1.bin").write_bytes(b"1")
    assert [path.name for path in folder.iterdir()] == ["1.bin"]


@pytest.mark.parametrize("name", ["x", "-1-x", "99999999999999999999-x"])
def test_names_of_others_stay(folder, name):
    other = folder.parent / f".kb.new-{socket.gethostname()}-{name}"
    elsewhere = folder.parent / ".kb.new-another.machine-1-x"
    other.mkdir()
    elsewhere.mkdir()
    with replaced_folder(folder):
        pass
    assert other.is_dir()
    assert elsewhere.is_dir()


def test_a_folder_that_was_taken_away_is_put_back(folder):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old = folder.parent / f".kb.old-{socket.gethostname()}-{ended.pid}-x"
    old.mkdir()
    folder.rename(old / "kb")
    with pytest.raises(OSError, match="disk full"):
        fill_half(folder, OSError("disk full"))
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    assert os.listdir(folder.parent) == [folder.name]
