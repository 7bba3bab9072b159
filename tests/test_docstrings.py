"""Every public class, function and method says in a whole sentence what it is or does."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "spacy_metric_el"
FILES = sorted(PACKAGE.rglob("*.py"))


def is_public(name):
    return not name.startswith("_") or name == "__call__"


def definitions(tree, prefix=""):
    """YIELDS (tuple[str, ast.AST]): Names and nodes of public classes, functions and methods."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and is_public(node.name):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{prefix}{node.name}.")


def gives_something(node):
    """RETURNS (bool): Whether a function returns or yields a value."""
    returned = ast.unparse(node.returns) if node.returns is not None else "None"
    return returned not in ("None", "Iterator[None]")


def faults(tree):
    """YIELDS (str): What is wrong with the docstrings of a module."""
    for name, node in definitions(tree):
        docstring = ast.get_docstring(node) or ""
        first = " ".join(docstring.partition("\n\n")[0].split())
        if not re.match(r"[A-Z].*\.$", first):
            yield f"{name}: no whole sentence: {first!r}"
        if isinstance(node, ast.FunctionDef):
            if re.match(r"(A|An|The)\b", first):
                yield f"{name}: does not say what it does: {first!r}"
            if gives_something(node) and not re.search(r"\b(RETURNS|YIELDS)\b", docstring):
                yield f"{name}: does not say what it returns"
        if re.search(r"\b(RETURNS|YIELDS|RAISES):", docstring):
            yield f"{name}: an entry has no type"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_are_whole_sentences(path):
    assert list(faults(ast.parse(path.read_text(encoding="utf8")))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_docstrings_are_whole_sentences_too(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            first = ast.get_docstring(node).partition("\n\n")[0]
            assert re.match(r"(?s)[A-Z].*\.$", first), node.name


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("def f(): ...", "f: no whole sentence: ''"),
        ("def f():\n    'returns a row.'", "f: no whole sentence: 'returns a row.'"),
        ("def f():\n    'Find a row'", "f: no whole sentence: 'Find a row'"),
        ("def f():\n    'The row.'", "f: does not say what it does: 'The row.'"),
        ("def f() -> int:\n    'Find a row.'", "f: does not say what it returns"),
        ("def f() -> int:\n    'RETURNS: The row.'", "f: an entry has no type"),
        ("class A:\n    'A row.'\n    def f(self): ...", "A.f: no whole sentence: ''"),
        ("class A:\n    'A.'\n    def __call__(self): ...", "A.__call__: no whole sentence: ''"),
    ],
)
def test_faults_are_found(code, fault):
    assert list(faults(ast.parse(code))) == [fault]


@pytest.mark.parametrize(
    "code",
    [
        "def f() -> int:\n    'RETURNS (int): The row.'",
        "def f():\n    '''Find a row.\n\n    a (int): The first.\n    '''",
        "def f() -> 'Iterator[int]':\n    '''Find rows.\n\n    YIELDS (int): Each.\n    '''",
        "def _f(): ...",
        "class A:\n    'A row.'\n    def __init__(self): ...",
        "def f():\n    'Find a row.'\n    def backprop(d): ...",
    ],
)
def test_nothing_else_is_a_fault(code):
    assert list(faults(ast.parse(code))) == []
