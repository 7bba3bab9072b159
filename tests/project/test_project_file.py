"""The project file: its workflows and variables, and the files that its commands name."""

import re
from pathlib import Path

import pytest
import srsly

ROOT = Path(__file__).resolve().parents[2] / "project"
PROJECT = srsly.read_yaml(ROOT / "project.yml")
SCRIPTS = {command["name"]: command["script"] for command in PROJECT["commands"]}
LINES = [line for script in SCRIPTS.values() for line in script]


def test_workflows():
    steps = [step for workflow in PROJECT["workflows"].values() for step in workflow]
    assert set(steps) == set(SCRIPTS)


def test_every_variable_is_there_and_used():
    used = set(re.findall(r"vars\.(\w+)", " ".join(LINES)))
    assert used == set(PROJECT["vars"])


@pytest.mark.parametrize("line", LINES)
def test_files_of_the_project_are_there(line):
    for name, value in PROJECT["vars"].items():
        line = line.replace(f"${{vars.{name}}}", str(value))
    assert "$" not in line
    for path in re.findall(r"(?:scripts|configs|demo)/[\w.-]+\.\w+", line):
        if f"/{path}" not in line:
            assert (ROOT / path).is_file(), path


def test_the_demo_links_before_it_trains():
    steps = PROJECT["workflows"]["demo"]
    linking = [i for i, step in enumerate(steps) if "sentences.txt" in str(SCRIPTS[step])]
    training = [i for i, step in enumerate(steps) if "spacy train" in str(SCRIPTS[step])]
    assert linking[0] < training[0] < linking[-1] == len(steps) - 1
