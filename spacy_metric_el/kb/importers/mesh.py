"""MeSH as the National Library of Medicine gives it out: XML and ASCII files."""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ...errors import Errors, MetricELError
from ...lines import existing_file, first_line, open_binary, read_lines
from ..entity import Entity, clean_entity
from .options import DEFAULTS, ReadOptions

_FIELD = re.compile(r"([A-Z][A-Z0-9_ ]*?) *=(.*)", re.DOTALL)
_NEW_RECORD = "*NEWRECORD"
# By the tag of a record: how the tags of its id and name begin, and its class.
_XML_RECORDS = {
    "DescriptorRecord": ("Descriptor", "descriptor"),
    "SupplementalRecord": ("SupplementalRecord", "supplementary"),
}
# By RECTYPE: the keys of name, further names and definition, and the class.
_ASCII_RECORDS = {
    "D": ("MH", ("PRINT ENTRY", "ENTRY"), "MS", "descriptor"),
    "C": ("NM", ("SY",), "NO", "supplementary"),
}
_CLASSES = frozenset({"descriptor", "supplementary"})


def _iter_elements(path: Path) -> Iterator[ElementTree.Element]:
    try:
        with open_binary(path) as file:
            # Expat resolves no external entity, and stops entities that blow up.
            events = ElementTree.iterparse(file, ("start", "end"))
            _, root = next(events)
            tag = root.tag.removesuffix("Set")
            if tag not in _XML_RECORDS:
                return
            for event, element in events:
                if event == "end" and element.tag == tag:
                    yield element
                    root.clear()
    except ElementTree.ParseError as error:
        line, reason = error.position[0], str(error).partition(": line ")[0]
        raise MetricELError(Errors.E120.format(path=path, line=line, reason=reason)) from error
    except (ValueError, LookupError) as error:  # An encoding that Python or expat lacks.
        raise MetricELError(Errors.E120.format(path=path, line=1, reason=error)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise MetricELError(Errors.E109.format(path=path, reason=error)) from error


def _parse_element(record: ElementTree.Element) -> Entity:
    stem, class_ = _XML_RECORDS[record.tag]
    preferred = "ConceptList/Concept[@PreferredConceptYN='Y']"
    terms = record.iterfind("ConceptList/Concept/TermList/Term/String")
    # XML files of older years have semantic types too.
    types = record.iterfind(f"{preferred}/SemanticTypeList/SemanticType/SemanticTypeUI")
    return Entity(
        record.findtext(f"{stem}UI") or "",
        record.findtext(f"{stem}Name/String") or "",
        [term.text or "" for term in terms],
        [type_.text for type_ in types if type_.text] or [class_],
        record.findtext(f"{preferred}/ScopeNote") or record.findtext("Note"),
    )


def _iter_xml(path: Path) -> Iterator[tuple[str, Entity]]:
    for number, element in enumerate(_iter_elements(path), 1):
        yield f"record {number}", _parse_element(element)


def _is_cut_short(path: Path) -> bool:
    """RETURNS (bool): Whether the last line has no end; an archive's own checksum tells more."""
    if path.suffix == ".gz":
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() != b"\n"


def _iter_fields(path: Path) -> Iterator[tuple[int, str, str]]:
    """YIELDS (tuple[int, str, str]): Line, key and value; a new record is a key of its own."""
    number, inside = 0, False
    for number, line in read_lines(path):
        text = line.strip()
        match = _FIELD.fullmatch(text)
        if text == _NEW_RECORD:
            inside = True
            yield number, _NEW_RECORD, ""
        elif match and inside:
            yield number, match[1], match[2]
        elif text:
            raise MetricELError(Errors.E122.format(path=path, line=number, text=text[:80]))
    if number and _is_cut_short(path):
        reason = "the file is cut short: its last line has no end"
        raise MetricELError(Errors.E120.format(path=path, line=number, reason=reason))


def _iter_ascii(path: Path) -> Iterator[tuple[str, Entity]]:
    start, fields = 0, defaultdict[str, list[str]](list)
    for number, key, value in _iter_fields(path):
        if key != _NEW_RECORD:
            fields[key].append(value)
            continue
        if start:
            yield from _parse_fields(path, start, fields)
        start, fields = number, defaultdict(list)
    if start:
        yield from _parse_fields(path, start, fields)


def _parse_fields(
    path: Path, line: int, fields: defaultdict[str, list[str]]
) -> Iterator[tuple[str, Entity]]:
    kind, place = "".join(fields["RECTYPE"]).strip(), f"line {line}"
    if kind == "Q":
        return
    if kind not in _ASCII_RECORDS:
        reason = f"its RECTYPE is {kind!r}"
        raise MetricELError(Errors.E121.format(path=path, place=place, reason=reason))
    name, others, note, class_ = _ASCII_RECORDS[kind]
    for key in ("UI", name):
        if len(fields[key]) > 1:
            reason = f"it has {len(fields[key])} lines of {key}"
            raise MetricELError(Errors.E121.format(path=path, place=place, reason=reason))
    entity = Entity(
        "".join(fields["UI"]),
        "".join(fields[name]),
        [value.partition("|")[0] for key in others for value in fields[key]],
        fields["ST"] or [class_],
        " ".join(fields[note]),
    )
    yield place, entity


def _find_problem(entity: Entity, seen: set[str]) -> str:
    """RETURNS (str): Why a record is no concept; empty if it is one."""
    if not entity.concept_id.strip():
        return "it has no id"
    if not entity.canonical_name.strip():
        return "it has no name"
    if entity.concept_id.strip() in seen:
        return f"'{entity.concept_id.strip()}' is already defined in this file"
    return ""


def read_mesh(path: str | Path, options: ReadOptions = DEFAULTS) -> Iterator[Entity]:
    """Stream the descriptors or supplementary concepts of a MeSH file.

    The file is one of `desc20XX.xml`, `supp20XX.xml`, `d20XX.bin` and `c20XX.bin`;
    whether it is XML or ASCII is known by its content. Qualifiers are skipped.

    A record is one concept, and all of its terms are its names, the record's own
    first. MeSH files terms of narrower concepts under a descriptor too, and articles
    about them are indexed with it, so these are among the names.

    The types are the semantic types, which the ASCII files have; a record without
    them has its class, `descriptor` or `supplementary`, and passes every filter.
    The definition is the scope note of the preferred concept, or else the note.

    A file that is cut short is an error, unless it is an ASCII file cut exactly
    between two lines, after the id of a record: nothing tells that.

    path (str | Path): The file, plain or `.gz`.
    options (ReadOptions): `semantic_types` are those of the concepts to take.
    YIELDS (Entity): One tidy record per concept.
    RAISES (MetricELError): E105 if a line of ASCII is not UTF-8, E109 if the file
        cannot be read, E111 if it has no concept, E120 if it is not valid or cut
        short, E121 if a record has no id or name, or the id of another, E122 if a
        line is not in the ASCII form, E124 if no concept has a wanted type.
    """
    path, wanted = existing_file(path), options.semantic_types
    opening = first_line(path).lstrip()
    records = _iter_xml(path) if opening.startswith("<") else _iter_ascii(path)
    seen: set[str] = set()
    types: Counter[str] = Counter()
    taken = False
    for place, entity in records:
        if reason := _find_problem(entity, seen):
            raise MetricELError(Errors.E121.format(path=path, place=place, reason=reason))
        entity = clean_entity(entity)
        seen.add(entity.concept_id)
        types.update(entity.types)
        if wanted and wanted.isdisjoint(entity.types) and _CLASSES.isdisjoint(entity.types):
            continue
        taken = True
        yield entity._replace(definition=" ".join((entity.definition or "").split()) or None)
    if not seen:
        raise MetricELError(Errors.E111.format(path=path))
    if not taken:
        missing, found = ", ".join(sorted(wanted)), ", ".join(key for key, _ in types.most_common())
        raise MetricELError(Errors.E124.format(path=path, wanted=missing, found=found))
