"""The documentation builds without a warning, and its tables are whole."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import pytest
import srsly

import spacy_metric_el
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
    assert [x for x in LinkerSettings.model_fields if f"<code>{x}</code>" not in text] == []


def test_messages_are_listed(site):
    text = page(site, "errors")
    assert "<!-- errors -->" not in text
    codes = [code for x in (Errors, Warnings) for code in vars(x) if not code.startswith("__")]
    assert codes
    assert [code for code in codes if f"<code>{code}</code>" not in text] == []


def test_public_names_are_listed(site):
    text = page(site, "api")
    assert [x for x in spacy_metric_el.__all__ if f"spacy_metric_el.{x}" not in text] == []
    for name in ("MetricEntityLinker.load_kb", "FaissKnowledgeBase.from_disk"):
        assert f'id="spacy_metric_el.{name}"' in text


def test_every_public_module_has_a_page(site):
    pages = "".join(path.read_text(encoding="utf8") for path in (site / "api").rglob("*.html"))
    modules = [
        module.name
        for module in walk_packages(spacy_metric_el.__path__, "spacy_metric_el.")
        if not module.ispkg and not module.name.rpartition(".")[2].startswith("_")
    ]
    assert "spacy_metric_el.kb.index.row_vectors" in modules
    assert [module for module in modules if f'id="{module}"' not in pages] == []


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
    assert [code for code in cures if code not in codes] == []
