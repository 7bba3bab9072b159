"""Docstrings of spaCy's style read well as Markdown."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "docs" / "docstrings.py"


@pytest.fixture(scope="module")
def as_markdown():
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("docs_docstrings", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.as_markdown


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("Says what it does.", "Says what it does."),
        (
            "Finds.\n\nk (int): Rows.\nRETURNS (list[str]): Ids.\nRAISES (KeyError): If none.",
            "Finds.\n\n\n- **`k`** (`int`): Rows.\n- **Returns** (`list[str]`): Ids.\n"
            "- **Raises** (`KeyError`): If none.",
        ),
        # What is returned may stand in the line of another sentence.
        (
            "RETURNS (str): The id. RAISES (KeyError): If there is none.",
            "\n- **Returns** (`str`): The id.\n\n- **Raises** (`KeyError`): If there is none.",
        ),
        ("YIELDS (Entity): Each.", "\n- **Yields** (`Entity`): Each."),
        ("path (str | Path): A folder.", "\n- **`path`** (`str | Path`): A folder."),
        ("**settings (Any): More.", "\n- **`**settings`** (`Any`): More."),
        # Lines that go on stay with their entry, and prose between is no entry.
        (
            "a (int): One\n    and more.\nb (int): Two.",
            "\n- **`a`** (`int`): One\n    and more.\n- **`b`** (`int`): Two.",
        ),
        ("loss (float), and more", "loss (float), and more"),
        # Types may hold parentheses.
        (
            "f (Callable[[tuple[int, ...]], int] | None): Called.",
            "\n- **`f`** (`Callable[[tuple[int, ...]], int] | None`): Called.",
        ),
        ("written, long (np.ndarray): Both.", "\n- **`written, long`** (`np.ndarray`): Both."),
        ("RETURNS: The means.", "\n- **Returns**: The means."),
    ],
)
def test_entries_become_a_list(as_markdown, docstring, markdown):
    assert as_markdown(docstring) == markdown
