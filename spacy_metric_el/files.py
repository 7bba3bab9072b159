"""Files and folders that are never half-new: filled beside their place, renamed at the end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


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

    target (Path): The folder to make or replace.
    YIELDS (Path): The temporary folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        # mkdtemp makes a folder that only its owner can read.
        fresh.chmod(0o777 & ~_umask())
        yield fresh
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
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
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
