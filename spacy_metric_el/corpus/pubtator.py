"""PubTator: documents of a title, an abstract and mentions with concept ids."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Errors, MetricELError, Warnings
from ..lines import read_lines

logger = logging.getLogger("spacy_metric_el")

_SECTION = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_KINDS = {"t": "title", "a": "abstract"}
_ID_SEPARATORS = re.compile(r"[|+,;]")
_ID_PREFIX = re.compile(r"(?:UMLS|MESH):", re.IGNORECASE)
_NIL = {"", "-", "-1"}
_INTEGER = re.compile(r"[0-9]{1,9}")
_LIKE_INTEGER = re.compile(r"[+-]?[0-9]+")
_RELATION_FLAGS = {"Novel", "No"}

_Lines = list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class PubTatorMention:
    """A mention: its place in the document's text, its type and its concepts.

    start (int): Offset of its first character.
    end (int): Offset after its last character.
    text (str): The document's text between the two.
    label (str): The type, such as `Disease` or `T047`.
    concept_ids (tuple[str, ...]): Its concepts; empty if it has none (NIL).
    """

    start: int
    end: int
    text: str
    label: str
    concept_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PubTatorDocument:
    """A document: title, one space and abstract, or the title alone.

    doc_id (str): Its id, such as the PubMed id.
    text (str): Its text.
    mentions (tuple[PubTatorMention, ...]): Its mentions, in the file's order.
    """

    doc_id: str
    text: str
    mentions: tuple[PubTatorMention, ...]


def parse_concept_ids(column: str) -> tuple[str, ...]:
    """Split the id column of a mention.

    `D1|D2` and `D1+D2` are two ids each; `UMLS:` and `MESH:` are taken off,
    other prefixes such as `OMIM:` belong to the id; `-1` stands for none.

    column (str): The text of the column.
    RETURNS (tuple[str, ...]): The ids, without repetition.
    """
    ids = (_ID_PREFIX.sub("", part.strip(), count=1) for part in _ID_SEPARATORS.split(column))
    return tuple(dict.fromkeys(id_ for id_ in ids if id_ not in _NIL))


def _is_relation(columns: list[str]) -> bool:
    """Tell a relation, with a type where a mention has an offset, from a bad mention."""
    if len(columns) not in (4, 5) or _LIKE_INTEGER.fullmatch(columns[1]):
        return False
    # With a flag as fifth column, the ids may be numbers (those of genes in BioRED).
    return (
        len(columns) == 4
        or columns[4] in _RELATION_FLAGS
        or not _LIKE_INTEGER.fullmatch(columns[2])
    )


def _split_line(path: str | Path, number: int, line: str) -> tuple[str, list[str]]:
    """RETURNS (tuple[str, list[str]]): The kind of a line, and its columns from the document id."""
    if section := _SECTION.fullmatch(line):
        return _KINDS[section[2]], [section[1], section[3]]
    columns = line.split("\t")
    if _is_relation(columns):
        return "relation", columns
    if 5 <= len(columns) <= 7:
        return "mention", columns
    raise MetricELError(Errors.E201.format(path=path, line=number, text=line[:80]))


def _is_same_text(mention: str, text: str) -> bool:
    """Compare, allowing for exports that blank quotation marks in the mention column."""
    return mention == text or (
        len(mention) == len(text)
        and all(
            a == b or (a == " " and not b.isalnum()) for a, b in zip(mention, text, strict=True)
        )
    )


def _parse_mention(path: str | Path, line: int, columns: list[str], text: str) -> PubTatorMention:
    _, first, last, mention, label, *rest = columns
    if not (_INTEGER.fullmatch(first) and _INTEGER.fullmatch(last)):
        raise MetricELError(Errors.E202.format(path=path, line=line, start=first, end=last))
    start, end = int(first), int(last)
    if not start < end <= len(text):
        raise MetricELError(
            Errors.E203.format(path=path, line=line, start=start, end=end, length=len(text))
        )
    found = text[start:end]
    if not _is_same_text(mention, found):
        raise MetricELError(
            Errors.E204.format(
                path=path, line=line, mention=mention, start=start, end=end, text=found
            )
        )
    return PubTatorMention(start, end, found, label, parse_concept_ids(rest[0] if rest else ""))


def _parse_block(path: str | Path, block: _Lines) -> PubTatorDocument:
    """Parse the lines between two blank ones; the text is complete before its mentions."""
    doc_id, sections = "", dict[str, str]()
    rows: list[tuple[int, list[str]]] = []
    for number, line in block:
        kind, columns = _split_line(path, number, line)
        found = columns[0]
        if not sections and kind != "title":
            raise MetricELError(Errors.E205.format(path=path, line=number, kind=kind))
        if sections and found != doc_id:
            raise MetricELError(
                Errors.E207.format(path=path, line=number, found=found, doc_id=doc_id)
            )
        if kind in sections:
            raise MetricELError(
                Errors.E206.format(path=path, line=number, doc_id=doc_id, kind=kind)
            )
        doc_id = found
        if kind == "mention":
            rows.append((number, columns))
        elif kind != "relation":
            sections[kind] = columns[1]
    title, abstract = sections["title"], sections.get("abstract")
    text = f"{title} {abstract}" if abstract else title
    mentions = (_parse_mention(path, number, columns, text) for number, columns in rows)
    return PubTatorDocument(doc_id, text, tuple(mentions))


def _iter_blocks(path: str | Path) -> Iterator[_Lines]:
    block: _Lines = []
    for number, line in read_lines(path):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def read_pubtator(path: str | Path) -> Iterator[PubTatorDocument]:
    """Stream the documents of a PubTator file, checking every line.

    Relations and the column with the parts of composite mentions are skipped.
    A document that comes again word for word is skipped with a logged warning.

    path (str | Path): The file, plain or `.gz`.
    YIELDS (PubTatorDocument): The documents, in the file's order.
    RAISES (MetricELError): E103, E105 and E109 as for any file; E201 to E209
        for what is wrong in it, with the line.
    """
    seen: dict[str, int] = {}
    for block in _iter_blocks(path):
        document = _parse_block(path, block)
        line, doc_id = block[0][0], document.doc_id
        if doc_id not in seen:
            seen[doc_id] = hash(document)
            yield document
        elif seen[doc_id] == hash(document):
            logger.warning(Warnings.W201.format(path=path, line=line, doc_id=doc_id))
        else:
            raise MetricELError(Errors.E208.format(path=path, line=line, doc_id=doc_id))
    if not seen:
        raise MetricELError(Errors.E209.format(path=path))
