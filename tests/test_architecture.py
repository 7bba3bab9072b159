"""The arrows between the packages, who may name the component, and how much a function takes."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spacy_metric_el"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
SINGLE = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
KNOWS = {
    package: set(re.findall(r"`(\w+)/`", knows))
    for package, knows in re.findall(r"^\| `(\w+)/` \|.*\|([^|]*)\|$", PAGE, flags=re.MULTILINE)
}
"""The table of the page: which packages a package knows."""

TREES = {
    path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""All modules of the package."""

MAX_PARAMETERS = 7
"""Of a function or method, `self` not counted. Commands take one for each option, and factories
and architectures what a config may say."""


def imports_of(place, tree):
    """RETURNS (set[str]): The packages and single files that a module imports, wherever it does so."""
    parts = [PACKAGE.name, *place.with_suffix("").parts]
    targets = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = parts[: len(parts) - node.level] if node.level else []
            module = node.module.split(".") if node.module else []
            targets += [[*start, *module, alias.name] for alias in node.names]
    return {target[1] for target in targets if target[0] == PACKAGE.name and len(target) > 1}


def names_of(tree):
    """RETURNS (set[str]): All identifiers of a module, those in quoted annotations as well."""
    found = set()
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Not "MetricEntityLinker.update", by which messages name a method.
            found.update(re.findall(r"\w+(?![\w.])", node.value) if node not in docstrings else [])
        found.update({getattr(node, "id", ""), getattr(node, "attr", "")})
    return found


def test_table_lists_every_package_and_file():
    assert set(KNOWS) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    (files,) = re.findall(r"^\| single files \|(.*?)\|", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", files)) == SINGLE


def test_arrows_go_down():
    """There is no circle: each package knows only those in rows further down."""
    order = list(KNOWS)
    for package, known in KNOWS.items():
        assert all(order.index(other) > order.index(package) for other in known)


@pytest.mark.parametrize("package", KNOWS)
def test_a_package_knows_what_the_table_says(package):
    modules = {place: tree for place, tree in TREES.items() if place.parts[0] == package}
    found = set().union(*(imports_of(place, tree) for place, tree in modules.items()))
    assert found - {package} - SINGLE == KNOWS[package]


def test_single_files_know_each_other_alone():
    for place, tree in TREES.items():
        if place.stem in SINGLE and len(place.parts) == 1:
            assert imports_of(place, tree) <= SINGLE


def test_nobody_else_names_the_linker():
    naming = {
        place.as_posix()
        for place, tree in TREES.items()
        if "MetricEntityLinker" in names_of(tree) and place.parts[0] != "cli"
    }
    assert naming == {"__init__.py", "pipeline/factory.py", "pipeline/linker.py"}


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    from ..pipeline.linker import MetricEntityLinker as M",
        "import spacy_metric_el.pipeline\ndef f(x: 'MetricEntityLinker | None'): ...",
        "from spacy_metric_el import pipeline\ny: list['MetricEntityLinker'] = []",
    ],
)
def test_the_checks_see_what_they_look_for(code):
    tree = ast.parse(code)
    assert imports_of(Path("kb/records.py"), tree) == {"pipeline"}
    assert "MetricEntityLinker" in names_of(tree)


def foreign_targets(tree, attribute):
    """RETURNS (list[str]): What else than `self` has an attribute that a module sets."""
    assigned = [
        node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Store)
    ]
    owners = [
        ast.unparse(node.value)
        for node in assigned
        if isinstance(node, ast.Attribute) and node.attr == attribute
    ]
    return [owner for owner in owners if owner != "self"]


def test_a_knowledge_base_alone_sets_its_vectors():
    """Others take one with other vectors: what several linkers share stays as it is."""
    found = {place.as_posix(): foreign_targets(tree, "vectors") for place, tree in TREES.items()}
    # spaCy's, of words.
    assert {place: owners for place, owners in found.items() if owners} == {
        "encoding/name_docs.py": ["vocab"]
    }
    tree = ast.parse(
        "kb.vectors = self.vectors = 1\nmade.vectors, x = 1, 2\nself.kb.vectors: int = 3"
    )
    assert sorted(foreign_targets(tree, "vectors")) == ["kb", "made", "self.kb"]


def is_configured(node):
    """RETURNS (bool): Whether a function is a command, or is called with what a config says."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(".command(" in text or "Language.factory(" in text for text in decorators)


def functions_of(tree):
    """YIELDS (tuple[str, ast.FunctionDef]): Functions by name; `__init__` by that of its class."""
    owner = {
        child: node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for child in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield owner.get(node, "") if node.name == "__init__" else node.name, node


def test_no_function_takes_too_much():
    entry_points = (ROOT / "setup.cfg").read_text(encoding="utf8")
    found = []
    for place, tree in TREES.items():
        module = ".".join([PACKAGE.name, *place.with_suffix("").parts])
        for name, node in functions_of(tree):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(arg.arg not in ("self", "cls") for arg in given)
            is_registered = f"{module}:{name}\n" in entry_points
            if count > MAX_PARAMETERS and not is_registered and not is_configured(node):
                found.append(f"{module}:{node.name} ({count})")
    assert found == []
