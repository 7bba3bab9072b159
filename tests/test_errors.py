import ast
import pickle
import re
from pathlib import Path
from string import Formatter

import pytest

import spacy_metric_el
from spacy_metric_el.errors import Errors, MetricELError, MetricELWarning, Warnings

PACKAGE = Path(spacy_metric_el.__file__).parent
SOURCES = {
    path: path.read_text(encoding="utf8")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "errors.py"
}
CATALOGUES = {"Errors": Errors, "Warnings": Warnings}


def codes_of(catalogue):
    return [name for name in vars(catalogue) if not name.startswith("__")]


CODES = [(name, code) for name, catalogue in CATALOGUES.items() for code in codes_of(catalogue)]


def test_every_code_is_used():
    used = {
        match.groups()
        for text in SOURCES.values()
        for match in re.finditer(r"\b(Errors|Warnings)\.(\w+)", text)
    }
    assert set(CODES) - used == set()
    assert used - set(CODES) == set()


def test_no_code_is_defined_twice():
    # A class would silently keep the last of two.
    text = (PACKAGE / "errors.py").read_text(encoding="utf8")
    defined = re.findall(r"^    ([EW]\d+) = ", text, flags=re.MULTILINE)
    assert sorted(defined) == sorted(set(defined)) == sorted(code for _, code in CODES)


@pytest.mark.parametrize(("catalogue", "code"), CODES)
def test_codes_are_in_order_and_messages_carry_them(catalogue, code):
    assert re.fullmatch(r"E\d{3}" if catalogue == "Errors" else r"W\d{3}", code)
    assert codes_of(CATALOGUES[catalogue]) == sorted(codes_of(CATALOGUES[catalogue]))
    message = getattr(CATALOGUES[catalogue], code)
    assert message.startswith(f"[{code}] ")
    fields = {field: "x" for _, field, _, _ in Formatter().parse(message) if field}
    assert all(field.isidentifier() for field in (name.partition("!")[0] for name in fields))
    assert MetricELError(message.format(**fields)).code == code


def format_calls(text):
    """YIELDS: Catalogue, code and keywords of each `Errors.E001.format(...)`."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Attribute(value=ast.Name(id=catalogue), attr=code), attr="format"
                )
            ) if catalogue in CATALOGUES:
                yield catalogue, code, {keyword.arg for keyword in node.keywords}


def test_every_use_fills_the_fields_of_its_message():
    calls = [(path, *call) for path, text in SOURCES.items() for call in format_calls(text)]
    assert len(calls) > 20
    for path, catalogue, code, given_fields in calls:
        message = getattr(CATALOGUES[catalogue], code)
        fields = {field for _, field, _, _ in Formatter().parse(message) if field}
        assert given_fields == fields, f"{path}: {code}"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((Errors.E131,), "E131"),
        ((Warnings.W002.format(names=3),), "W002"),
        (("no code",), ""),
        (("see [E131] for more",), ""),
        ((), ""),
        ((7,), ""),
    ],
)
def test_errors_and_warnings_say_their_code(args, code):
    assert MetricELError(*args).code == MetricELWarning(*args).code == code


def test_errors_are_value_errors_and_survive_pickling():
    error = pickle.loads(pickle.dumps(MetricELError(Errors.E131)))
    assert isinstance(error, ValueError)
    assert error.code == "E131"
    assert issubclass(MetricELWarning, UserWarning)
