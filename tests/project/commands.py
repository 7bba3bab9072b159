"""The commands of the project file, as they are run when no variable is set."""

import shlex
from pathlib import Path
from typing import Any

from spacy.cli._util import parse_config_overrides
from weasel.util import load_project_config

ROOT = Path(__file__).resolve().parents[2] / "project"
PROJECT = load_project_config(ROOT)
SCRIPTS = {command["name"]: command["script"] for command in PROJECT["commands"]}
LINES = [line for script in SCRIPTS.values() for line in script]

OPTIONS = ("--output", "--gpu-id")
"""Of `spacy train`, beside the overrides."""


def training(command: str) -> tuple[Path, dict[str, Any]]:
    """Read a command that calls `spacy train`.

    command (str): Its name.
    RETURNS (tuple[Path, dict[str, Any]]): The config, and what the command overrides of it.
    """
    (line,) = SCRIPTS[command]
    start, config, *given = shlex.split(line.removeprefix("python -m spacy "))
    assert start == "train"
    pairs = list(zip(given[::2], given[1::2], strict=True))
    overrides = [value for pair in pairs if pair[0] not in OPTIONS for value in pair]
    return ROOT / config, parse_config_overrides(overrides)
