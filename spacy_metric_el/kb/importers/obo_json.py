"""Ontologies as OBO graphs in JSON, read like those in OBO."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from ...errors import Errors, MetricELError
from ...lines import existing_file, read_lines
from ..entity import Entity, unique_texts
from .obo import concepts_of_terms
from .options import DEFAULTS, ReadOptions

_T = TypeVar("_T", str, bool, list, dict)
_KINDS = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}
_OBO_IN_OWL = "http://www.geneontology.org/formats/oboInOwl#"
_PURL = re.compile(r"https?://purl\.obolibrary\.org/obo/([^/#]+)_([^/#_]+)")
_PREDICATES = ("hasExactSynonym", "hasRelatedSynonym")


def _take(holder: Any, key: str, kind: type[_T]) -> _T:
    """RETURNS (_T): What a JSON object has under a key; empty if that is missing or null."""
    if not isinstance(holder, dict):
        raise ValueError(f"what should have '{key}' is not an object")
    value = holder.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ValueError(f"'{key}' is not {_KINDS[kind]}")
    return value


def _get_values(meta: dict, predicate: str) -> list[str]:
    """RETURNS (list[str]): The values of one of OBO's own properties."""
    properties = _take(meta, "basicPropertyValues", list)
    wanted = _OBO_IN_OWL + predicate
    return [_take(item, "val", str) for item in properties if _take(item, "pred", str) == wanted]


def _get_xrefs(meta: dict) -> list[tuple[str, str]]:
    """RETURNS (list[tuple[str, str]]): Prefix and local id of each cross reference."""
    values = [_take(xref, "val", str).strip() for xref in _take(meta, "xrefs", list)]
    xrefs = [(name.strip(), local.strip()) for name, _, local in (v.partition(":") for v in values)]
    return [(name, local) for name, local in xrefs if local and not local.startswith("//")]


def _shorten(iri: str) -> str:
    match = _PURL.fullmatch(iri)
    return f"{match[1]}:{match[2]}" if match else iri


def _make_record(node: Any, common: list[str]) -> tuple[Entity, list[tuple[str, str]]] | None:
    """Read a node.

    node (Any): The JSON of the node.
    common (list[str]): Default namespaces of the graph.
    RETURNS (tuple[Entity, list[tuple[str, str]]] | None): The term with its own id, and
        its cross references; None if it is obsolete, has no name or is no term.
    RAISES (ValueError): If the node is not as OBO graphs say.
    """
    if not (iri := _take(node, "id", str).strip()):
        raise ValueError("'id' is missing")
    meta = _take(node, "meta", dict)
    synonyms = _take(meta, "synonyms", list)
    chosen = [item for item in synonyms if _take(item, "pred", str) in _PREDICATES]
    names = unique_texts([_take(node, "lbl", str), *(_take(item, "val", str) for item in chosen)])
    is_class = (_take(node, "type", str) or "CLASS") == "CLASS"
    if not names or not is_class or _take(meta, "deprecated", bool):
        return None
    types = [name for name in _get_values(meta, "hasOBONamespace") if name not in common]
    definition = _take(_take(meta, "definition", dict), "val", str)
    xrefs = _get_xrefs(meta)
    # JSON may escape half of a surrogate pair, which no UTF-8 writer takes later.
    "".join([iri, *names, *types, definition, *map("".join, xrefs)]).encode()
    return Entity(_shorten(iri), names[0], names, types, definition or None), xrefs


def _iter_terms(text: str) -> Iterator[tuple[Entity, list[tuple[str, str]]]]:
    document = json.loads(text)
    if not isinstance(document, dict) or "graphs" not in document:
        raise ValueError("there are no 'graphs'")
    for graph in _take(document, "graphs", list):
        nodes = _take(graph, "nodes", list)
        common = _get_values(_take(graph, "meta", dict), "default-namespace")
        for number, node in enumerate(nodes, 1):
            try:
                term = _make_record(node, common)
            except ValueError as error:
                raise ValueError(f"node {number}: {error}") from error
            if term:
                yield term


def read_obo_json(path: str | Path, options: ReadOptions = DEFAULTS) -> Iterator[Entity]:
    """Read the concepts of an ontology in OBO graphs JSON, such as `hp.json`.

    What `read_obo` says of terms, concepts, names and types holds here too: the
    names are the label and the exact and related synonyms, terms that refer to one
    concept are merged, obsolete terms are skipped, and the default namespace is no
    type. The whole file is read into memory.

    path (str | Path): The file, plain or `.gz`.
    options (ReadOptions): `id_prefix` is the prefix of the cross references that are
        concept ids; empty for the terms' own ids, such as `HP:0000006`.
    YIELDS (Entity): One tidy record per concept.
    RAISES (MetricELError): E105 if a line is not UTF-8, E108 if no term has the
        prefix, E109 if the file cannot be read, E111 for a file without terms,
        E123 if it is no OBO graph.
    """
    path = existing_file(path)
    text = "\n".join(line for _, line in read_lines(path))
    try:
        terms = list(_iter_terms(text))
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg}"
        raise MetricELError(Errors.E123.format(path=path, reason=reason)) from error
    except (ValueError, RecursionError) as error:
        raise MetricELError(Errors.E123.format(path=path, reason=error)) from error
    yield from concepts_of_terms(terms, path, options.id_prefix)
