"""A vocabulary, a corpus and pipelines on disk, and a way to run commands on them."""

from types import SimpleNamespace

import pytest
import spacy
from spacy.cli import app as spacy_app
from typer.testing import CliRunner

import spacy_metric_el.cli  # noqa: F401

from ..util import LINKER, make_kb, make_nlp, write_jsonl

TRAIN = """\
10|t|A bad cold and a heart attack.
10|a|The zorblax was treated with aspirin.
10\t6\t10\tcold\tT047\tC03
10\t17\t29\theart attack\tT047\tC01
10\t35\t42\tzorblax\tT047\tC77

11|t|Cold again, this time with fever and headache.
11\t0\t4\tCold\tT047\tC03
11\t27\t45\tfever and headache\tT184\tC08|C07
"""

DEV = """\
20|t|Cold, fever and headache, no heart attack.
20\t0\t4\tCold\tT047\tC03
20\t6\t24\tfever and headache\tT184\tC08|C07
20\t6\t11\tfever\tT184\tC08
20\t29\t41\theart attack\tT047\tC01
20\t0\t41\tCold, fever and headache, no heart attack\tT047\t-1

21|t|Sunburn and acetylsalicylic acid.
21\t0\t7\tSunburn\tT037\tC99
21\t12\t32\tacetylsalicylic acid\tT121\tC05
"""


@pytest.fixture
def run(monkeypatch):
    """Run `spacy metric-el` with arguments, in this process."""
    # Terminals and their width are those of whoever runs the tests.
    monkeypatch.setenv("COLUMNS", "100")

    def invoke(*args):
        result = CliRunner().invoke(spacy_app, ["metric-el", *map(str, args)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def fails(run):
    """Run a command that fails, with one line that begins with a code."""

    def invoke(code, *args):
        result = run(*args)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert result.stderr.startswith(f"[{code}] ")
        assert len(result.stderr.splitlines()) == 1
        return result

    return invoke


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Files that no test changes."""
    folder = tmp_path_factory.mktemp("cli")
    files = SimpleNamespace(
        vocabulary=folder / "vocabulary.jsonl",
        train=folder / "train.pubtator",
        dev=folder / "dev.pubtator",
        fresh=folder / "fresh",
        other=folder / "other",
        listener=folder / "listener",
        no_linker=folder / "no_linker",
        listener_kb=folder / "kb",
    )
    write_jsonl(files.vocabulary)
    files.train.write_text(TRAIN, encoding="utf8")
    files.dev.write_text(DEV, encoding="utf8")
    make_kb().to_disk(folder / "kb")
    nlp = make_nlp(entities=["cold", "heart attack"])
    nlp.get_pipe(LINKER).load_kb(folder / "kb")
    nlp.to_disk(files.fresh)
    # Another encoder of names.
    nlp = make_nlp(model={"seed": 1})
    nlp.get_pipe(LINKER).load_kb(folder / "kb")
    nlp.to_disk(files.other)
    nlp = make_nlp("listener", ner=True)
    nlp.get_pipe("ner").add_label("T047")
    nlp.initialize()
    nlp.to_disk(files.listener)
    nlp.get_pipe(LINKER).load_kb(folder / "kb", nlp=nlp)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(files.no_linker)
    return files
