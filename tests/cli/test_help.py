"""The app hangs in spaCy's, explains itself, and costs spaCy's other commands nothing."""

import subprocess
import sys

import pytest

COMMANDS = [("kb", "build"), ("kb", "info"), ("kb", "search"), ("convert",), ("evaluate",)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "EXAMPLES" in result.output
    assert f"$ spacy metric-el {' '.join(command)} " in result.output


@pytest.mark.parametrize("command", [(), ("kb",)])
def test_groups_list_their_commands(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    for name in (path[len(command)] for path in COMMANDS if path[: len(command)] == command):
        assert f"\n  {name} " in result.output


def test_missing_arguments_are_a_usage_error(run):
    result = run("kb", "build")
    assert result.exit_code == 2
    assert "Missing argument" in result.output


def test_spacy_finds_the_app_and_it_is_light():
    code = (
        "import sys; from spacy.util import registry; from spacy.cli._util import app;"
        "registry.cli.get('metric-el');"
        "assert 'metric-el' in [group.name for group in app.registered_groups];"
        "heavy = {'faiss', 'pyarrow', 'scispacy', 'fastobo', 'transformers'};"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
