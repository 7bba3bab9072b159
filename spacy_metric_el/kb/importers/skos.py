"""Thesauri in SKOS, read from RDF/XML, Turtle or N-Triples."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.sax import SAXException

from ...errors import Errors, MetricELError
from ...lines import existing_file, first_line, open_binary, read_lines
from ..entity import Entity
from .merge import merge_entities
from .options import DEFAULTS, ReadOptions

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

# What relative URIs are relative to: the same wherever the file lies.
_BASE = "file:///"

XML_OPENINGS = ("<?xml", "<!", "<rdf:RDF", "<RDF")

LANGUAGES = {
    "ara": "ar", "baq": "eu", "chi": "zh", "cze": "cs", "dan": "da", "dut": "nl", "eng": "en",
    "est": "et", "fin": "fi", "fre": "fr", "ger": "de", "gre": "el", "heb": "he", "hun": "hu",
    "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv", "nor": "no", "pol": "pl", "por": "pt",
    "rus": "ru", "scr": "hr", "spa": "es", "swe": "sv", "tur": "tr", "ukr": "uk",
}  # fmt: skip

# Besides its own errors, rdflib lets many of Python's out for text that is not RDF.
_FAULTS = (
    SyntaxError, SAXException, ValueError, TypeError, AttributeError, LookupError,
    ArithmeticError, AssertionError, RecursionError,
)  # fmt: skip
_PLACE = re.compile(r"at line (\d+) of .*?\((.*?)\) at \^|:(\d+):\d+: (.*)", re.DOTALL)


class _Text(NamedTuple):
    text: str
    language: str


class _Concept(NamedTuple):
    uri: str
    labels: list[_Text]
    definitions: list[_Text]
    notations: list[str]
    matches: list[str]
    schemes: list[str]


def _make_syntax_error(path: Path, error: Exception) -> MetricELError:
    found = _PLACE.search(str(error))
    line, reason = (found[1] or found[3], found[2] or found[4]) if found else ("", str(error))
    place = f"{path}, line {line}" if line else str(path)
    return MetricELError(Errors.E126.format(place=place, reason=" ".join(reason.split())))


def _read_graph(path: Path) -> "Graph":
    try:
        from rdflib import Graph
        from rdflib.exceptions import ParserError
    except ImportError as error:
        raise MetricELError(Errors.E125) from error
    graph = Graph()
    opening = first_line(path).lstrip()
    is_xml = opening.startswith(XML_OPENINGS)
    # Turtle holds N-Triples, and its parser knows the lines. XML may be in other
    # encodings than UTF-8, so that its own parser has to decode it.
    text = "" if is_xml else "\n".join(line for _, line in read_lines(path))
    try:
        if is_xml:
            with open_binary(path) as file:
                graph.parse(file, format="xml", publicID=_BASE)
        else:
            graph.parse(data=text, format="turtle", publicID=_BASE)
    except (*_FAULTS, ParserError) as error:
        raise _make_syntax_error(path, error) from error
    except (OSError, EOFError, zlib.error) as error:
        raise MetricELError(Errors.E109.format(path=path, reason=error)) from error
    return graph


def _iter_concepts(graph: "Graph") -> Iterator[_Concept]:
    """YIELDS (_Concept): What is said of each concept that is not deprecated."""
    from rdflib import Literal, URIRef
    from rdflib.namespace import OWL, RDF, SKOS

    def get_texts(subject: "Node", *predicates: "Node") -> list[_Text]:
        found = (value for each in predicates for value in graph.objects(subject, each))
        return [_Text(str(v), v.language or "") for v in found if isinstance(v, Literal)]

    def get_uris(subject: "Node", predicate: "Node") -> list[str]:
        return [str(v) for v in graph.objects(subject, predicate) if isinstance(v, URIRef)]

    for subject in graph.subjects(RDF.type, SKOS.Concept):
        if any(value.text in ("true", "1") for value in get_texts(subject, OWL.deprecated)):
            continue
        yield _Concept(
            str(subject) if isinstance(subject, URIRef) else "",
            get_texts(subject, SKOS.prefLabel, SKOS.altLabel, SKOS.hiddenLabel),
            get_texts(subject, SKOS.definition),
            [notation.text for notation in get_texts(subject, SKOS.notation)],
            get_uris(subject, SKOS.exactMatch),
            get_uris(subject, SKOS.inScheme),
        )


def _get_language(code: str) -> str:
    """RETURNS (str): The ISO code: `en` for `ENG`, `eng`, `en` and `en-GB`."""
    language = code.casefold().partition("-")[0]
    return LANGUAGES.get(language, language)


def _choose_texts(texts: Iterable[_Text], languages: frozenset[str]) -> list[str]:
    wanted = {_get_language(code) for code in languages}
    return [
        text.text
        for text in texts
        if not wanted or not text.language or _get_language(text.language) in wanted
    ]


def _get_last_part(uri: str) -> str:
    return re.split("[#/]", uri.rstrip("#/"))[-1]


def _find_ids(concept: _Concept, prefix: str) -> list[str]:
    """RETURNS (list[str]): The ids with a prefix that a concept has or refers to."""
    wanted, ids = prefix.rstrip(":").casefold(), []
    for reference in (concept.uri, *concept.notations, *concept.matches):
        *before, last = re.split("[#/]", reference.casefold().rstrip("#/"))
        name, _, local = _get_last_part(reference).partition(":")
        if name.casefold() == wanted and local:
            ids.append(local)
        elif wanted in before and last:
            ids.append(_get_last_part(reference))
    return list(dict.fromkeys(ids)) if wanted else []


def _make_record(concept: _Concept, languages: frozenset[str]) -> Entity | None:
    """RETURNS (Entity | None): A concept with its own id, if it has one; None without a name."""
    names = [text for text in _choose_texts(concept.labels, languages) if text.strip()]
    definition = next(iter(_choose_texts(concept.definitions, languages)), None)
    own_id = next(filter(str.strip, concept.notations), _get_last_part(concept.uri))
    types = [_get_last_part(scheme) for scheme in concept.schemes]
    return Entity(own_id, names[0], names, types, definition) if names else None


def _check_text(path: Path, entity: Entity) -> None:
    # Turtle may escape half of a surrogate pair, which no UTF-8 writer takes later.
    try:
        "".join([entity.concept_id, *entity.aliases, *entity.types]).encode()
        (entity.definition or "").encode()
    except UnicodeEncodeError as error:
        raise _make_syntax_error(path, error) from error


def read_skos(path: str | Path, options: ReadOptions = DEFAULTS) -> Iterator[Entity]:
    """Read the concepts of a thesaurus in SKOS: RDF/XML, Turtle or N-Triples.

    The whole file is read into memory, so it has to fit there several times
    over. It needs the package rdflib: `pip install spacy-metric-el[skos]`.

    The first `skos:prefLabel` is the canonical name; the other ones,
    `skos:altLabel` and `skos:hiddenLabel` are aliases. Labels and definitions
    count if they are in one of the languages, or in none. The types are the
    last parts of the URIs of `skos:inScheme`. Deprecated concepts
    (`owl:deprecated`) and those without a label are skipped.

    A concept's own id is its first `skos:notation`, or else what follows the
    last `/` or `#` of its URI. But if any concept of the file has or refers to
    an id with `options.id_prefix`, then only such ids are taken, and concepts
    without one are skipped: with the prefix `UMLS` these are `C0001` of the URI
    or `skos:exactMatch` `http://example.org/umls/id/C0001`, and of the notation
    `UMLS:C0001`. Concepts that come to the same id are merged.

    path (str | Path): The file, plain or `.gz`.
    options (ReadOptions): Only `id_prefix` and `languages` are used.
    YIELDS (Entity): One tidy record per concept.
    RAISES (MetricELError): E125 if rdflib is not installed, E126 if the file is
        not valid RDF, E127 if it has no concept with a label.
    """
    path = existing_file(path)
    own: list[Entity] = []
    referred: list[Entity] = []
    seen: Counter[str] = Counter()
    for concept in _iter_concepts(_read_graph(path)):
        seen.update(label.language or "no language" for label in concept.labels)
        record = _make_record(concept, options.languages)
        if record is None:
            continue
        if record.concept_id:
            own.append(record)
        ids = _find_ids(concept, options.id_prefix)
        referred.extend(record._replace(concept_id=concept_id) for concept_id in ids)
    if not own and not referred:
        found = ", ".join(language for language, _ in seen.most_common()) or "none"
        wanted = ", ".join(sorted(options.languages)) or "all"
        raise MetricELError(Errors.E127.format(path=path, wanted=wanted, languages=found))
    for entity in merge_entities(referred or own):
        _check_text(path, entity)
        yield entity
