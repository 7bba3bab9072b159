"""The project file: its workflows, and the benchmark's commands as they are written there."""

import re
import shlex
from pathlib import Path

import pytest
import srsly
from benchmark.ablation import main as ablate
from benchmark.cli import app
from benchmark.kb.cli import app as kb_app
from benchmark.report import main as tabulate
from benchmark.speed.cli import app as speed_app
from typer import Typer
from typer.main import get_command

PROJECT = srsly.read_yaml(Path(__file__).resolve().parents[2] / "project" / "project.yml")
SCRIPTS = {command["name"]: command["script"] for command in PROJECT["commands"]}


def single(function):
    """RETURNS (Command): The command line of a function."""
    commands = Typer()
    commands.command()(function)
    return get_command(commands)


COMMANDS = {
    "benchmark/ablate.py": single(ablate),
    "benchmark/table.py": single(tabulate),
    **{f"benchmark/run.py {name}": x for name, x in get_command(app).commands.items()},
    **{f"benchmark/kb_run.py {name}": x for name, x in get_command(kb_app).commands.items()},
    **{f"benchmark/speed_run.py {name}": x for name, x in get_command(speed_app).commands.items()},
}
LINES = [
    line for script in SCRIPTS.values() for line in script if line.startswith("python benchmark/")
]


def test_workflows():
    for steps in PROJECT["workflows"].values():
        assert set(steps) <= set(SCRIPTS)
    assert [step for step in PROJECT["workflows"]["benchmark"] if "benchmark" in step] == [
        f"{corpus}-benchmark" for corpus in ("medmentions", "bc5cdr", "ncbi")
    ]


def test_every_variable_is_there():
    used = {name for script in SCRIPTS.values() for name in re.findall(r"vars\.(\w+)", str(script))}
    assert used <= set(PROJECT["vars"])


@pytest.mark.parametrize("corpus", ["medmentions", "bc5cdr", "ncbi"])
def test_every_row_is_measured(corpus):
    lines = SCRIPTS[f"{corpus}-benchmark"]
    rows = {shlex.split(line)[2] for line in lines if "run.py" in line}
    # A pipeline that was trained before is no part of it.
    assert rows == {command.name for command in app.registered_commands} - {"ours"}
    names = [shlex.split(line)[2] for line in lines if "ours-minilm --" in line]
    assert names == ["ours-trained"] * 3
    assert "table.py" in lines[-1]


@pytest.mark.parametrize("line", LINES)
def test_lines_are_understood(line):
    for name, value in PROJECT["vars"].items():
        line = line.replace(f"${{vars.{name}}}", str(value))
    words = shlex.split(line)[1:]
    size = 2 if words[0].endswith("run.py") else 1
    command = COMMANDS[" ".join(words[:size])]
    assert command.make_context("benchmark", words[size:]).params
