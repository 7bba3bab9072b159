"""The pages, and the blocks of code on them."""

import re
import shlex
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import srsly

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"\s*(?:It prints:\s*)?")


class Block(NamedTuple):
    """A block of code.

    page (str): The page that it stands on.
    line (int): Its first line.
    language (str): What stands behind the backticks.
    text (str): The code.
    printed (str): What the page says that it prints; empty if it says nothing.
    """

    page: str
    line: int
    language: str
    text: str
    printed: str


def blocks_of(path):
    """RETURNS (list[Block]): The blocks of a page, in their order."""
    text = path.read_text(encoding="utf8")
    found = list(BLOCK.finditer(text))
    blocks = []
    for match, after in zip_longest(found, found[1:]):
        printed = ""
        if after is not None and after[1] == "text":
            between = text[match.end() : after.start()]
            printed = after[2] if PRINTED.fullmatch(between) else ""
        line = text.count("\n", 0, match.start()) + 2
        blocks.append(Block(path.name, line, match[1], match[2], printed))
    return blocks


def all_blocks(language):
    """RETURNS (list[Block]): Those of the README and of all pages, as the navigation orders them."""
    nav = srsly.read_yaml(ROOT / "mkdocs.yml")["nav"]
    paths = [ROOT / "README.md", *(DOCS / name for name in _pages_in(nav))]
    return [x for path in paths for x in blocks_of(path) if x.language == language]


def commands_of(block):
    """RETURNS (list[list[str]]): The words of each command of a bash block, without comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _pages_in(nav):
    for part in nav:
        if isinstance(part, str):
            yield part
        else:
            for inner in part.values():
                yield from [inner] if isinstance(inner, str) else _pages_in(inner)
