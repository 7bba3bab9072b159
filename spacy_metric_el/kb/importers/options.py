"""Options of the readers of vocabularies."""

from collections.abc import Mapping
from typing import NamedTuple


class ReadOptions(NamedTuple):
    """Options of a reader; each takes what its format has.

    id_prefix (str): Prefix of the cross references that are concept ids, such as
        `UMLS`; empty for the terms' own ids.
    languages (frozenset[str]): Languages of names as the UMLS writes them (LAT), or
        their ISO codes in formats that have these; empty for all.
    sources (frozenset[str]): Source vocabularies (SAB); empty for all.
    semantic_types (frozenset[str]): Semantic types (TUI) of the concepts; empty for all.
    suppressed (bool): Whether names that the UMLS marks as suppressed are taken.
    columns (Mapping[str, str]): What to read from which column of a table: keys are
        fields of a record, values column headings, or numbers from 1.
    """

    id_prefix: str = "UMLS"
    languages: frozenset[str] = frozenset({"ENG"})
    sources: frozenset[str] = frozenset()
    semantic_types: frozenset[str] = frozenset()
    suppressed: bool = False
    columns: Mapping[str, str] = {}


DEFAULTS = ReadOptions()
