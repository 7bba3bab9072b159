"""The arrows between the packages, and who may name the component."""

import ast
from pathlib import Path

import pytest

import spacy_metric_el

ROOT = Path(spacy_metric_el.__file__).parent

FILES = {
    "errors",
    "files",
    "geometry",
    "lines",
    "mentions",
    "segments",
    "settings",
    "stages",
    "text",
}
"""Single files that any package may know."""

ARROWS = {
    "cli": {"pipeline", "training", "evaluation", "ranking", "encoding", "corpus", "kb", "model"},
    "pipeline": {"training", "evaluation", "ranking", "encoding", "corpus", "kb", "model"},
    "training": {"ranking", "encoding", "corpus", "kb", "model"},
    "evaluation": {"ranking", "encoding", "corpus", "kb"},
    "ranking": {"kb"},
    "encoding": {"model", "kb"},
    "corpus": {"kb"},
    "kb": set(),
    "model": set(),
}
"""Which packages a package may know; each is above those that it knows."""

NAME_THE_LINKER = {"__init__", "cli", "pipeline"}
"""A function of any other package takes the parts that it uses."""

MAX_PARAMETERS = 7
"""Of a function or method, `self` not counted. Commands take one for each option, and factories
and architectures what a config may say."""


def modules():
    """YIELDS (tuple[list[str], ast.Module]): The dotted parts of each module, and its tree."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = [ROOT.name, *path.relative_to(ROOT).with_suffix("").parts]
        yield parts, ast.parse(path.read_text(encoding="utf8"))


def imports(parts, tree):
    """YIELDS (str): The package, or single file, of each module that a module imports, wherever it does so."""
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = parts[: len(parts) - node.level] if node.level else []
            module = node.module.split(".") if node.module else []
            targets = [[*start, *module, alias.name] for alias in node.names]
        yield from (target[1] for target in targets if target[0] == ROOT.name and len(target) > 1)


def names(tree):
    """RETURNS (set[str]): All identifiers of a module, those in quoted annotations as well."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.arg) and isinstance(node.annotation, ast.Constant):
            found.update(str(node.annotation.value).replace("|", " ").split())
    return found


MODULES = list(modules())
"""All modules of the package."""


def test_every_room_is_in_the_table():
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__pycache__"} == {*ARROWS, *FILES}


def test_arrows_go_down():
    """The table has no circle: each package knows only those in rows further down."""
    order = list(ARROWS)
    for package, known in ARROWS.items():
        assert all(order.index(below) > order.index(package) for below in known)


@pytest.mark.parametrize(("parts", "tree"), MODULES, ids=[".".join(p[1:]) for p, _ in MODULES])
def test_imports_follow_the_arrows(parts, tree):
    package = parts[1]
    if package == "__init__":
        return
    allowed = FILES | ARROWS.get(package, set()) | {package}
    assert set(imports(parts, tree)) <= allowed


def test_nobody_else_names_the_linker():
    named = {parts[1] for parts, tree in MODULES if "MetricEntityLinker" in names(tree)}
    assert named <= NAME_THE_LINKER
    assert "pipeline" in named


def test_the_checks_see_what_they_look_for():
    tree = ast.parse("def f():\n    from ..pipeline.linker import MetricEntityLinker as M")
    assert list(imports([ROOT.name, "kb", "x"], tree)) == ["pipeline"]
    assert "MetricEntityLinker" in names(tree)
    assert "MetricEntityLinker" in names(ast.parse("def f(x: 'MetricEntityLinker | None'): ..."))
    assert list(imports([ROOT.name, "kb"], ast.parse("import spacy_metric_el.cli"))) == ["cli"]


def is_configured(node):
    """RETURNS (bool): Whether a function is a command, or is called with what a config says."""
    decorators = {
        ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list
    }
    return any("command" in d or "Language.factory" in d for d in decorators)


def functions(tree):
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
    entry_points = (ROOT.parent / "setup.cfg").read_text(encoding="utf8")
    long = []
    for parts, tree in MODULES:
        for name, node in functions(tree):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(arg.arg not in ("self", "cls") for arg in given)
            registered = f"{'.'.join(parts)}:{name}\n" in entry_points
            if count > MAX_PARAMETERS and not registered and not is_configured(node):
                long.append(f"{'.'.join(parts)}:{node.name} ({count})")
    assert long == []
