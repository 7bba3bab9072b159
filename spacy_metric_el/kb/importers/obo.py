"""Ontologies in OBO, read for the concept ids that their terms refer to."""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import fastobo
from fastobo.id import PrefixedIdent
from fastobo.term import (
    DefClause,
    IsObsoleteClause,
    NameClause,
    NamespaceClause,
    SynonymClause,
    TermFrame,
    XrefClause,
)

from ...errors import Errors, MetricELError
from ...lines import existing_file, open_binary, read_lines
from ..entity import Entity, unique_texts
from .merge import merge_entities

SCOPES = ("EXACT", "RELATED", "NARROW", "BROAD")


def _iter_terms(path: Path) -> Iterator[TermFrame]:
    try:
        with open_binary(path) as file:
            # One thread: several would report whichever fault they meet first.
            for frame in fastobo.iter(file, threads=1):
                if isinstance(frame, TermFrame):
                    yield frame
    except SyntaxError as error:
        line, reason = error.lineno, error.msg
        raise MetricELError(Errors.E107.format(path=path, line=line, reason=reason)) from error
    except (OSError, EOFError, TypeError, zlib.error) as error:
        # fastobo says TypeError if the first read of a stream fails, and never
        # which line is not UTF-8; reading the lines does.
        for _ in read_lines(path):
            pass
        raise MetricELError(Errors.E109.format(path=path, reason=error)) from error


def _is_obsolete(term: TermFrame) -> bool:
    return any(isinstance(clause, IsObsoleteClause) and clause.obsolete for clause in term)


def _get_xrefs(term: TermFrame) -> list[tuple[str, str]]:
    """RETURNS (list[tuple[str, str]]): Prefix and local id of each cross reference."""
    ids = (clause.xref.id for clause in term if isinstance(clause, XrefClause))
    return [(id_.prefix, id_.local) for id_ in ids if isinstance(id_, PrefixedIdent)]


def _get_own_id(term: TermFrame) -> str:
    # str() of the identifier would escape some characters the OBO way.
    id_ = term.id
    return f"{id_.prefix}:{id_.local}" if isinstance(id_, PrefixedIdent) else str(id_)


def _make_record(term: TermFrame, scopes: frozenset[str]) -> Entity | None:
    """RETURNS (Entity | None): What a term says, under its own id; None if it has no name."""
    clauses = list(term)
    names = [clause.name for clause in clauses if isinstance(clause, NameClause)]
    synonyms = [clause.synonym for clause in clauses if isinstance(clause, SynonymClause)]
    aliases = unique_texts(names + [syn.desc for syn in synonyms if syn.scope in scopes])
    types = [str(clause.namespace) for clause in clauses if isinstance(clause, NamespaceClause)]
    definitions = [clause.definition for clause in clauses if isinstance(clause, DefClause)]
    definition = definitions[0] if definitions else None
    own_id = _get_own_id(term)
    return Entity(own_id, aliases[0], aliases, types, definition) if aliases else None


def _check_scopes(scopes: Iterable[str]) -> frozenset[str]:
    checked = frozenset(scopes)
    for scope in sorted(checked.difference(SCOPES)):
        raise MetricELError(Errors.E110.format(scope=scope, known=", ".join(SCOPES)))
    return checked


def read_obo(
    path: str | Path,
    *,
    id_prefix: str = "UMLS",
    scopes: Iterable[str] = ("EXACT", "RELATED"),
) -> Iterator[Entity]:
    """Read the concepts of an ontology in OBO.

    A term gives its names to each concept that it refers to: with
    `xref: UMLS:C0349588` and the prefix `UMLS` that is the concept `C0349588`.
    Terms that refer to one concept are merged, and obsolete terms are skipped.
    A term's own `namespace` becomes the type; the default one, which all terms
    share, tells nothing apart and is left out.

    Synonyms of the scopes NARROW and BROAD are names of other, more special or
    more general concepts, and are therefore left out unless they are asked for.

    path (str | Path): The file, plain or `.gz`.
    id_prefix (str): The prefix of the cross references that are concept ids;
        empty for the terms' own ids, such as `HP:0000006`.
    scopes (Iterable[str]): The scopes of the synonyms to take as names.
    YIELDS (Entity): One tidy record per concept.
    RAISES (MetricELError): E107 if the file is not valid OBO, E108 if no term
        has the prefix, E110 for an unknown scope, E111 for a file without terms.
    """
    path, wanted = existing_file(path), _check_scopes(scopes)
    live = (term for term in _iter_terms(path) if not _is_obsolete(term))
    records = ((_make_record(term, wanted), _get_xrefs(term)) for term in live)
    named = ((record, xrefs) for record, xrefs in records if record is not None)
    yield from concepts_of_terms(named, path, id_prefix)


def concepts_of_terms(
    terms: Iterable[tuple[Entity, list[tuple[str, str]]]], path: Path, id_prefix: str
) -> Iterator[Entity]:
    """Give the names of terms to the concepts that they refer to.

    terms (Iterable[tuple[Entity, list[tuple[str, str]]]]): Terms under their own ids, with
        prefix and local id of each cross reference.
    path (Path): What errors call the file.
    id_prefix (str): The prefix of the cross references that are concept ids; empty for
        the terms' own ids.
    YIELDS (Entity): One tidy record per concept; terms of one concept are merged.
    RAISES (MetricELError): E108 if no term has the prefix, E111 if there is no term.
    """
    prefix = id_prefix.rstrip(":")
    found: list[Entity] = []
    seen: Counter[str] = Counter()
    for term, xrefs in terms:
        seen.update(name for name, _ in xrefs)
        ids = [local for name, local in xrefs if name == prefix] if prefix else [term.concept_id]
        found.extend(term._replace(concept_id=concept_id) for concept_id in ids)
    if not found and prefix:
        prefixes = ", ".join(name for name, _ in seen.most_common()) or "none"
        raise MetricELError(Errors.E108.format(path=path, prefix=prefix, prefixes=prefixes))
    if not found:
        raise MetricELError(Errors.E111.format(path=path))
    yield from merge_entities(found)
