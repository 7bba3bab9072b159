"""Folders that say what is in them: manifests with sizes and checksums."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import srsly

from ..errors import Errors, MetricELError

FORMAT = "spacy-metric-el-kb"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"

HEAD = 65_536
"""Bytes at the start of a file that are compared whenever it is opened: what says how the
rest is to be read. The rest is compared by `verify_checksums`."""


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write a manifest with the sizes and checksums of all other files of the folder."""
    files = {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": file_checksum(path),
            "sha256_head": head_checksum(path),
        }
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    header = {"format": FORMAT, "format_version": FORMAT_VERSION}
    srsly.write_json(folder / MANIFEST, {**header, **content, "files": files})


def read_manifest(folder: Path, content: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Read a manifest, and check that the files are there, each of its size and with its start.

    folder (Path): A folder written with `write_manifest`.
    content (Mapping[str, type] | None): What else the manifest must hold, and its types.
    RETURNS (dict[str, Any]): The manifest.
    RAISES (MetricELError): E132 without a manifest, E133 for one of another or
        newer format or that lacks something, E134 for a file that is missing, of
        another size, or starts with other bytes.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise MetricELError(Errors.E132.format(path=folder))
    try:
        manifest = srsly.read_json(path)
    except ValueError as err:
        raise MetricELError(Errors.E133.format(path=path, found="no JSON")) from err
    if not isinstance(manifest, dict):
        raise MetricELError(Errors.E133.format(path=path, found="no JSON object"))
    found = (manifest.get("format"), manifest.get("format_version"))
    if found[0] != FORMAT or not isinstance(found[1], int) or found[1] > FORMAT_VERSION:
        raise MetricELError(Errors.E133.format(path=path, found=found))
    for key, kind in {"files": dict, **(content or {})}.items():
        if not isinstance(manifest.get(key), kind):
            raise MetricELError(Errors.E133.format(path=path, found=f"no valid `{key}`"))
    for name, entry in manifest["files"].items():
        if not _is_file_entry(entry):
            raise MetricELError(Errors.E133.format(path=path, found=f"no valid entry of {name}"))
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            raise MetricELError(Errors.E134.format(path=file, expected=entry["bytes"], found=size))
        start = head_checksum(file)
        if start != entry["sha256_head"]:
            expected = entry["sha256_head"]
            raise MetricELError(Errors.E134.format(path=file, expected=expected, found=start))
    return manifest


def verify_checksums(folder: Path) -> None:
    """Compare every file's checksum with the manifest.

    RAISES (MetricELError): E134 for the first file that differs.
    """
    for name, entry in read_manifest(folder)["files"].items():
        found = file_checksum(folder / name)
        if found != entry["sha256"]:
            raise MetricELError(
                Errors.E134.format(path=folder / name, expected=entry["sha256"], found=found)
            )


def file_checksum(path: Path) -> str:
    """RETURNS (str): SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def head_checksum(path: Path) -> str:
    """RETURNS (str): SHA-256 of a file's first bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(HEAD)).hexdigest()


def _is_file_entry(entry: Any) -> bool:
    kinds = {"bytes": int, "sha256": str, "sha256_head": str}
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), kind) for key, kind in kinds.items()
    )
