"""The project file: its workflows and variables, and the files that its commands name."""

import re

import pytest

from .commands import LINES, PROJECT, ROOT, SCRIPTS

INSTEAD_OF_TRAIN = {"train-trf", "train-frozen"}


def test_workflows():
    steps = [step for workflow in PROJECT["workflows"].values() for step in workflow]
    assert set(steps) == set(SCRIPTS) - INSTEAD_OF_TRAIN


def test_every_variable_is_there_and_used():
    text = (ROOT / "project.yml").read_text(encoding="utf8")
    assert set(re.findall(r"\$\{vars\.(\w+)\}", text)) == set(PROJECT["vars"])


def test_the_file_can_be_read_in_one_go():
    assert len((ROOT / "project.yml").read_text(encoding="utf8").splitlines()) < 150


@pytest.mark.parametrize("line", LINES)
def test_files_of_the_project_are_there(line):
    assert "$" not in line
    for path in re.findall(r"(?:scripts|configs|demo)/[\w.-]+\.\w+", line):
        if f"/{path}" not in line:
            assert (ROOT / path).is_file(), path


def test_the_demo_links_before_it_trains():
    steps = PROJECT["workflows"]["demo"]
    linking = [i for i, step in enumerate(steps) if "sentences.txt" in str(SCRIPTS[step])]
    training = [i for i, step in enumerate(steps) if "spacy train" in str(SCRIPTS[step])]
    assert linking[0] < training[0] < linking[-1] == len(steps) - 1
