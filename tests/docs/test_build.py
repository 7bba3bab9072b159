"""The documentation builds without a warning, and its tables are whole."""

import subprocess
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
import srsly

from spacy_metric_el.errors import Errors, Warnings
from spacy_metric_el.settings import LinkerSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def page(site, name):
    return (site / name / "index.html").read_text(encoding="utf8")


def test_settings_are_listed(site):
    text = page(site, "settings")
    assert "<!-- settings -->" not in text
    assert [x.name for x in fields(LinkerSettings) if f"<code>{x.name}</code>" not in text] == []


def test_messages_are_listed(site):
    text = page(site, "errors")
    assert "<!-- errors -->" not in text
    codes = [code for x in (Errors, Warnings) for code in vars(x) if not code.startswith("__")]
    assert codes
    assert [code for code in codes if f"<code>{code}</code>" not in text] == []


def test_interface_is_listed(site):
    text = page(site, "api")
    for name in ("MetricEntityLinker.load_kb", "FaissKnowledgeBase.from_disk"):
        assert f".{name}" in text


def test_nothing_is_loaded_from_elsewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf8")
        assert 'src="http' not in text, path
        assert "fonts.googleapis" not in text, path


def test_sources_of_tables_are_no_pages(site):
    assert not list(site.rglob("*.py"))


def test_every_message_has_a_cure():
    cures = srsly.read_yaml(ROOT / "docs" / "cures.yml")
    codes = [code for x in (Errors, Warnings) for code in vars(x) if not code.startswith("__")]
    assert [code for code in codes if not cures.get(code)] == []
