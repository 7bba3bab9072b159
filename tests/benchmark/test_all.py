"""The rows of a benchmark as they are run one after another."""

import re
import shlex
from importlib import import_module
from pathlib import Path
from string import Template

import pytest
import srsly
from typer.main import get_command
from typer.testing import CliRunner

from benchmark import all as all_room
from benchmark.all import app
from benchmark.run import app as rows

FILES = ["--kb", "kb", "--train", "train.pubtator"]
COMMANDS = {
    "rows": ["rows", "small", *FILES],
    "kb": ["kb", "kb", "dev.pubtator", "--ten-million"],
    "speed": ["speed", "kb", "train.pubtator"],
}


README = (Path(all_room.__file__).parent / "README.md").read_text(encoding="utf8")


def readme_commands():
    """RETURNS (list[str]): The commands of the page, their variables filled in."""
    found, variables = [], {}
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            filled = Template(line).substitute(variables)
            if filled.startswith("python -m benchmark"):
                found.append(" ".join(filled.split()))
            elif not filled.startswith("("):
                variables |= dict(pair.split("=", 1) for pair in shlex.split(filled))
    return found


@pytest.fixture
def ran(monkeypatch):
    """The processes that would be run; those whose arguments have "scispacy" fail."""
    found = []

    def run(arguments):
        found.append(arguments)
        return int("scispacy" in arguments)

    monkeypatch.setattr(all_room, "run_module", run)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_are_understood(command, ran, tmp_path):
    CliRunner().invoke(app, [*COMMANDS[command], "--output", str(tmp_path)])
    assert ran[-1][1] == "table"
    for module, name, *arguments in ran:
        known = get_command(import_module(module).app).commands[name]
        assert known.make_context(name, [*arguments]).params
        assert str(tmp_path) in " ".join(arguments)


@pytest.mark.parametrize("line", readme_commands())
def test_commands_of_the_readme_are_understood(line):
    module, name, *arguments = shlex.split(line.removeprefix("python -m "))
    known = get_command(import_module(module).app).commands[name]
    assert known.make_context(name, arguments).params


def test_every_row_is_measured(ran, tmp_path):
    CliRunner().invoke(app, [*COMMANDS["rows"], "--output", str(tmp_path)])
    # A pipeline that was trained before is no part of it.
    others = {"ours", "ablate"}
    assert {line[1] for line in ran} == {x.name for x in rows.registered_commands} - others


def test_rows_with_figures_are_skipped(ran, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    srsly.write_json(folder / "exact.json", {"row": "exact"})
    srsly.write_json(folder / "spacy-entity-linker.json", {"row": "x", "error": "no time"})
    command = [*COMMANDS["rows"], "--output", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "Failed: scispacy" in result.output
    names = [line[1] for line in ran]
    assert "exact" not in names
    assert "spacy-entity-linker" in names
    ran.clear()
    CliRunner().invoke(app, [*command, "--again"])
    assert "exact" in [line[1] for line in ran]


def test_figures_have_the_names_that_are_looked_for(kb_path, train_path, dev_path, tmp_path):
    files = ["--kb", str(kb_path), "--train", str(train_path), "--dev", str(dev_path)]
    files += ["--output", str(tmp_path)]
    result = CliRunner().invoke(rows, ["exact", "small", *files, "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "small" / "exact-seed1.json").is_file()


def test_processes_are_of_this_python():
    assert all_room.run_module(["json.tool", "--help"]) == 0
