"""The options that say how vocabularies and training corpora are read."""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from spacy.cli._util import Opt
from tqdm import tqdm

from ..corpus.files import read_mentions
from ..errors import Errors, MetricELError
from ._util import shows_progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..kb import Entity
    from ..kb.importers.options import ReadOptions

Format = Annotated[
    str | None,
    Opt(
        "--format",
        "-f",
        help="Format of all sources: jsonl (scispaCy's), obo, obo-json, rrf (a UMLS release), mesh, skos or table; known by ending and content if not given",
    ),
]
IdPrefix = Annotated[
    str,
    Opt(
        "--id-prefix",
        help="Prefix of the cross references that are concept ids, in formats that have them; empty for the terms' own ids",
    ),
]
Lang = Annotated[
    list[str] | None,
    Opt(
        "--lang",
        help="Language of the names, as the UMLS writes it; ENG if not given. Several times, or separated by commas; all for every language",
    ),
]
Sources = Annotated[
    list[str] | None,
    Opt(
        "--sources",
        help="Source vocabularies (SAB) of the UMLS to take names from, such as MSH,SNOMEDCT_US; all if not given",
    ),
]
SemanticTypes = Annotated[
    list[str] | None,
    Opt(
        "--semantic-types",
        help="Semantic types (TUI) of the concepts to take, such as T047; narrower ones are taken as well",
    ),
]
Preset = Annotated[
    str | None,
    Opt("--preset", help="st21pv: the semantic types and sources of MedMentions ST21pv"),
]
Suppressed = Annotated[
    bool, Opt("--suppressed", help="Take names that the UMLS marks as suppressed, too")
]
Columns = Annotated[
    list[str] | None,
    Opt(
        "--columns",
        help="Column of a table that holds a field, such as concept_id=CODE or name=2; fields are concept_id, canonical_name, aliases, types, definition, and name for one row a name. Several times",
    ),
]
Mentions = Annotated[
    list[Path] | None,
    Opt(
        "--mentions",
        help="Training corpus (.pubtator or .spacy): its mentions become names and say what a name mostly means, and its concepts are added if they are missing. Can be given several times",
    ),
]


def read_options(
    *,
    id_prefix: str,
    lang: list[str] | None,
    sources: list[str] | None,
    semantic_types: list[str] | None,
    preset: str | None,
    suppressed: bool,
    columns: list[str] | None,
) -> "ReadOptions":
    """RETURNS (ReadOptions): What the command's options say. RAISES (MetricELError): E313 for a value that is none."""
    from ..kb.importers.options import DEFAULTS, ReadOptions
    from ..kb.importers.semantic_types import ST21PV_SOURCES, ST21PV_TYPES
    from ..kb.importers.table import FIELDS

    if preset not in (None, "st21pv"):
        raise MetricELError(Errors.E313.format(option="--preset", value=preset, known="st21pv"))
    places: dict[str, str] = {}
    for column in columns or []:
        field, _, heading = column.partition("=")
        if not heading or field not in FIELDS:
            known = ", ".join(f"{name}=HEADING" for name in FIELDS)
            raise MetricELError(Errors.E313.format(option="--columns", value=column, known=known))
        places[field] = heading
    return ReadOptions(
        id_prefix=id_prefix,
        languages=_split(lang) - {"all"} if lang else DEFAULTS.languages,
        sources=_split(sources) or (ST21PV_SOURCES if preset else frozenset()),
        semantic_types=_split(semantic_types) or (ST21PV_TYPES if preset else frozenset()),
        suppressed=suppressed,
        columns=places,
    )


def open_sources(
    paths: list[Path], format: str | None, options: "ReadOptions"
) -> "list[Iterable[Entity]]":
    """Open vocabularies, with a progress bar each.

    paths (list[Path]): The sources; all are looked for before the first one is read.
    format (str | None): Of all of them.
    options (ReadOptions): As `read_options` gives them.
    RETURNS (list[Iterable[Entity]]): The concepts of each.
    RAISES (MetricELError): E103 for a missing source, E104 for an unknown format.
    """
    from ..kb.importers import read_entities

    streams = [read_entities(path, options, format=format) for path in paths]
    return [
        tqdm(stream, f"Reading {path.name}", unit=" concepts", disable=not shows_progress())
        for path, stream in zip(paths, streams, strict=True)
    ]


def count_uses(mentions: list[Path]) -> dict[tuple[str, str], int]:
    """RETURNS (dict[tuple[str, str], int]): How often training corpora link a text to a concept id."""
    from ..kb import count_mentions

    uses = chain.from_iterable(map(read_mentions, mentions))
    quiet = not (mentions and shows_progress())
    return count_mentions(tqdm(uses, "Counting mentions", unit="", disable=quiet))


def describe_files(paths: list[Path]) -> list[dict[str, Any]]:
    """RETURNS (list[dict[str, Any]]): Name, size and checksum of each file; of a folder those of its tables."""
    return [
        {"name": path.resolve().name, "files": [_describe(f) for f in sorted(path.rglob("*.RRF*"))]}
        if path.is_dir()
        else _describe(path)
        for path in paths
    ]


def _describe(file: Path) -> dict[str, Any]:
    from ..kb.storage import file_checksum

    return {"name": file.name, "bytes": file.stat().st_size, "sha256": file_checksum(file)}


def _split(values: list[str] | None) -> frozenset[str]:
    texts = (text.strip() for value in values or [] for text in value.split(","))
    return frozenset(filter(None, texts))
