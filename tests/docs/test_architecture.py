"""What the page on architecture says of packages and of the ways through them is so."""

import ast
import re
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from thinc.api import Adam

from spacy_metric_el.training.batcher import ClusterBatcher

from ..util import LINKER, make_example, make_kb, make_nlp

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "spacy_metric_el"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
SINGLE = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
ROWS = {
    package: set(re.findall(r"`(\w+)/`", knows))
    for package, knows in re.findall(r"^\| `(\w+)/` \|.*\|([^|]*)\|$", PAGE, flags=re.MULTILINE)
}


def imports_of(paths):
    """RETURNS (set[str]): The parts of `spacy_metric_el` that modules import, wherever they do it."""
    found = set()
    for path in paths:
        place = path.relative_to(PACKAGE).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                target = [*place[: -node.level], *(node.module or "").split(".")]
                found |= {target[0]} if target[0] else {alias.name for alias in node.names}
    return found


def test_table_lists_every_package_and_file():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(ROWS) == packages
    (files,) = re.findall(r"^\| single files \|(.*?)\|", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", files)) == SINGLE


@pytest.mark.parametrize("package", ROWS)
def test_package_knows_what_the_table_says(package):
    below = list(ROWS)[list(ROWS).index(package) + 1 :]
    assert ROWS[package] <= set(below)
    found = imports_of((PACKAGE / package).rglob("*.py"))
    assert found - {package} - SINGLE == ROWS[package]


def test_single_files_know_each_other_alone():
    assert imports_of(PACKAGE / f"{name}.py" for name in SINGLE) <= SINGLE


def test_few_name_the_component():
    naming = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            names = [getattr(node, "id", ""), getattr(node, "attr", "")]
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
            if "MetricEntityLinker" in names:
                naming.add(path.relative_to(PACKAGE).as_posix())
    others = {name for name in naming if not name.startswith("cli/")}
    assert others == {"__init__.py", "pipeline/factory.py", "pipeline/linker.py"}


def hops_of(title):
    """RETURNS (list[str]): The functions that a walk names, in its order."""
    _, _, section = PAGE.partition(f"\n## {title}, hop by hop\n")
    section, _, _ = section.partition("\n## ")
    hops = re.findall(r"\*\*`([\w.]+)`\*\*", section)
    assert hops
    assert len(hops) == len(set(hops))
    return hops


def code_of(hop):
    """RETURNS (CodeType): Of a function or method of the package."""
    names = hop.split(".")
    size = next(
        i for i in range(len(names)) if PACKAGE.joinpath(*names[:i]).with_suffix(".py").is_file()
    )
    found = import_module(".".join(["spacy_metric_el", *names[:size]]))
    for name in names[size:]:
        found = getattr(found, name)
    # Context managers are wrapped.
    return getattr(found, "__wrapped__", found).__code__


@contextmanager
def first_calls(hops):
    """Note which of the functions are called, in the order of their first calls."""
    names = {code_of(hop): hop for hop in hops}
    called = {}

    def note(frame, event, argument):
        if event == "call" and frame.f_code in names:
            called.setdefault(names[frame.f_code])

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


def learned_pipeline():
    """RETURNS (tuple[Language, list[Example]]): A pipeline with a fitted ranker, and what it learned from."""
    nlp = make_nlp("listener", entities=["cold", "heart attack"])
    examples = [
        make_example(nlp, "A cold and a heart attack .", ("cold", "C03"), ("heart attack", "C01")),
        make_example(nlp, "The cold of a heart attack .", ("cold", "C04"), ("heart attack", "C01")),
    ]
    nlp.get_pipe(LINKER).set_kb(make_kb())
    nlp.initialize(lambda: examples)
    return nlp, examples


def test_walk_of_a_mention():
    nlp, examples = learned_pipeline()
    nlp.get_pipe(LINKER).fit_ranker(nlp, lambda: examples)
    hops = hops_of("A mention")
    with first_calls(hops) as called:
        nlp("A cold and a heart attack .")
    assert list(called) == hops


def test_walk_of_a_training_batch():
    nlp, examples = learned_pipeline()
    hops = hops_of("A training batch")
    with first_calls(hops) as called:
        for batch in ClusterBatcher()(examples):
            nlp.update(batch, sgd=Adam(0.001))
    # The batcher counts gold mentions as well.
    assert set(called) == set(hops)
    moved = ["corpus.gold.gold_mentions"]
    assert [x for x in called if x not in moved] == [x for x in hops if x not in moved]
