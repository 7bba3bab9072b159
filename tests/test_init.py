"""The public names of the package, and what they cost."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

import spacy_metric_el
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity, FaissKnowledgeBase
from spacy_metric_el.pipeline.linker import MetricEntityLinker

SETUP = Path(__file__).parent.parent / "setup.cfg"
HEAVY = ("faiss", "numpy", "pyarrow", "scispacy", "spacy", "thinc", "torch")


def loaded_by(code):
    """RETURNS (str): The heavy libraries that a fresh interpreter has loaded after some code."""
    ask = f"import sys; {code}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    command = [sys.executable, "-W", "ignore", "-c", ask]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    return ran.stdout.strip()


def test_names_are_those_of_their_modules():
    assert spacy_metric_el.Entity is Entity
    assert spacy_metric_el.FaissKnowledgeBase is FaissKnowledgeBase
    assert spacy_metric_el.MetricEntityLinker is MetricEntityLinker


def test_all_names_are_there_and_listed():
    assert set(spacy_metric_el.__all__) <= set(dir(spacy_metric_el))
    assert [x for x in spacy_metric_el.__all__ if getattr(spacy_metric_el, x, None) is None] == []


def test_unknown_name():
    with pytest.raises(AttributeError, match="'spacy_metric_el' has no attribute 'xyz'"):
        spacy_metric_el.xyz  # noqa: B018


def test_version_is_that_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf8")
    assert spacy_metric_el.__version__ == setup["metadata"]["version"]


def test_load_kb(kb_folder):
    kb = spacy_metric_el.load_kb(kb_folder)
    assert isinstance(kb, FaissKnowledgeBase)
    assert kb.path == kb_folder
    assert kb["C01"].canonical_name == "heart attack"


def test_load_kb_of_another_folder(tmp_path):
    with pytest.raises(MetricELError) as caught:
        spacy_metric_el.load_kb(str(tmp_path))
    assert caught.value.code == "E132"


@pytest.mark.parametrize(
    "code",
    [
        "import spacy_metric_el",
        "from spacy_metric_el import load_kb, __version__",
        "import spacy_metric_el; dir(spacy_metric_el); hasattr(spacy_metric_el, 'xyz')",
    ],
)
def test_importing_the_package_loads_nothing_heavy(code):
    assert loaded_by(code) == ""


def test_a_name_loads_what_it_needs():
    loaded = loaded_by("from spacy_metric_el import FaissKnowledgeBase")
    assert "pyarrow" in loaded
