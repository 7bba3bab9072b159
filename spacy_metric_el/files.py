"""Files and folders that are never half-new: filled beside their place, renamed at the end."""

import ctypes
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

BUILD_PREFIX = ".metric-el-build-"

# Python has no name for Linux' renameat2; of other systems' libraries nothing is asked.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """Write a temporary file beside `target`; put it in target's place only if all went well.

    target (Path): The file to make or replace; its folder is made where it is missing.
    YIELDS (Path): The temporary file, not there yet.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new-{uuid4().hex}")
    try:
        yield fresh
        os.replace(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Fill a temporary folder beside `target`; put it in target's place only if all went well.

    What a process that was killed left beside it is removed first; if it was killed
    between taking the old folder away and putting the new one there, the old one is put back.

    target (Path): The folder to make or replace.
    YIELDS (Path): The temporary folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in _left_behind(target.parent, f".{target.name}.old-"):
        if not target.exists() and (left / target.name).exists():
            os.rename(left / target.name, target)
        shutil.rmtree(left, ignore_errors=True)
    with scratch_folder(target.parent, f".{target.name}.new-") as fresh:
        # mkdtemp makes a folder that only its owner can read.
        fresh.chmod(0o777 & ~_umask())
        yield fresh
        if target.exists() and _exchange(fresh, target):
            # What was there goes with the temporary folder.
            pass
        elif target.exists():
            old = Path(tempfile.mkdtemp(prefix=_owned(f".{target.name}.old-"), dir=target.parent))
            os.rename(target, old / target.name)
            try:
                os.rename(fresh, target)
            except OSError:
                os.rename(old / target.name, target)
                old.rmdir()
                raise
            shutil.rmtree(old)
        else:
            os.rename(fresh, target)


def is_being_replaced(target: Path) -> bool:
    """Tell a folder that is missing for a moment from one that is not there.

    target (Path): The folder, or a link to it.
    RETURNS (bool): Whether `replaced_folder` has taken it away, and the new one is to come.
        True, too, where a process was killed just then.
    """
    target = Path(os.path.realpath(target))
    try:
        names = os.listdir(target.parent)
    except OSError:
        return False
    return not target.exists() and any(name.startswith(f".{target.name}.old-") for name in names)


@contextmanager
def scratch_folder(parent: str | Path | None, prefix: str) -> Iterator[Path]:
    """Make a folder that is gone afterwards, and remove those that killed processes left.

    parent (str | Path | None): Where; the system's folder for temporary files if None.
    prefix (str): How its name starts.
    YIELDS (Path): The folder.
    """
    for left in _left_behind(Path(parent or tempfile.gettempdir()), prefix):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_owned(prefix), dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step, so that a reader never finds none.

    RETURNS (bool): Whether they did: not every system and file system can.
    """
    rename = getattr(_libc, "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, bytes(first), _AT_FDCWD, bytes(second), _RENAME_EXCHANGE) == 0


def _owned(prefix: str) -> str:
    """RETURNS (str): The prefix, and whose folder it is: this machine's name and the process."""
    return f"{prefix}{socket.gethostname()}-{os.getpid()}-"


def _left_behind(parent: Path, prefix: str) -> list[Path]:
    """RETURNS (list[Path]): Folders of processes of this machine that are no more."""
    start = f"{prefix}{socket.gethostname()}-"
    found = [path for path in parent.iterdir() if path.name.startswith(start)]
    return [path for path in found if not _is_running(path.name[len(start) :].partition("-")[0])]


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, OverflowError):
        # Another user's; or a name that is none of ours.
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
