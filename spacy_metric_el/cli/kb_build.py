"""`kb build`: vocabularies to a knowledge base."""

from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from spacy.cli._util import Arg, Opt
from tqdm import tqdm
from wasabi import Printer

from ..errors import Errors, MetricELError
from ._corpus import check_corpus, read_mentions
from ._summary import count_rows, describe_kb
from ._util import kb_app, load_pipeline, shows_progress, use_device

if TYPE_CHECKING:
    from spacy.language import Language

    from ..kb import FaissKnowledgeBase
    from ..pipeline.linker import MetricEntityLinker


@kb_app.command("build")
def kb_build_cli(
    output: Annotated[Path, Arg(help="Folder to make; a knowledge base that is there is replaced")],
    sources: Annotated[
        list[Path],
        Arg(
            help="Vocabularies, plain or .gz; concepts of several are merged by their ids, the first one's name and definition win"
        ),
    ],
    format: Annotated[
        str | None,
        Opt(
            "--format",
            "-f",
            help="Format of all sources: jsonl (scispaCy's), obo, obo-json, rrf (a UMLS release), mesh, skos or table; told by ending and content if not given",
        ),
    ] = None,
    id_prefix: Annotated[
        str,
        Opt(
            "--id-prefix",
            help="Prefix of the cross references that are concept ids, in formats that have them; empty for the terms' own ids",
        ),
    ] = "UMLS",
    lang: Annotated[
        list[str] | None,
        Opt(
            "--lang",
            help="Language of the names, as the UMLS writes it; ENG if not given. Several times, or separated by commas; all for every language",
        ),
    ] = None,
    sabs: Annotated[
        list[str] | None,
        Opt(
            "--sources",
            help="Source vocabularies (SAB) of the UMLS to take names from, such as MSH,SNOMEDCT_US; all if not given",
        ),
    ] = None,
    semantic_types: Annotated[
        list[str] | None,
        Opt(
            "--semantic-types",
            help="Semantic types (TUI) of the concepts to take, such as T047; narrower ones are taken as well",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        Opt("--preset", help="st21pv: the semantic types and sources of MedMentions ST21pv"),
    ] = None,
    suppressed: Annotated[
        bool, Opt("--suppressed", help="Take names that the UMLS marks as suppressed, too")
    ] = False,
    columns: Annotated[
        list[str] | None,
        Opt(
            "--columns",
            help="Column of a table that holds a field, such as concept_id=CODE or name=2; fields are concept_id, canonical_name, aliases, types, definition, and name for one row a name. Several times",
        ),
    ] = None,
    mentions: Annotated[
        list[Path] | None,
        Opt(
            "--mentions",
            help="Training corpus (.pubtator or .spacy): its mentions become names and say what a name mostly means, and its concepts are added if they are missing. Can be given several times",
        ),
    ] = None,
    model: Annotated[
        str | None,
        Opt(
            "--model",
            "-m",
            help="Pipeline that encodes the names, by path or package name; if not given, the first pipeline that loads the knowledge base does",
        ),
    ] = None,
    gpu_id: Annotated[int, Opt("--gpu-id", "-g", help="GPU id, or -1 for the CPU")] = -1,
) -> None:
    """
    Build a knowledge base from one or more vocabularies: a folder with the concepts,
    their names and, with --model, the vectors to search in. The folder is complete
    or not there at all.

    \b
    EXAMPLES
    $ spacy metric-el kb build hpo.kb hp.obo
    $ spacy metric-el kb build umls.kb umls.jsonl.gz hp.obo --mentions train.pubtator
    $ spacy metric-el kb build umls.kb 2024AA/META --preset st21pv
    $ spacy metric-el kb build mesh.kb desc2026.xml supp2026.xml
    $ spacy metric-el kb build mine.kb codes.csv --columns concept_id=CODE --columns name=TERM
    $ spacy metric-el kb build umls.kb umls.jsonl --mentions train.spacy \\
        --model ./pipeline
    """
    corpora = mentions or []
    use_device(gpu_id)
    _check_output(output)
    for corpus in corpora:
        check_corpus(corpus)
    # Loaded before the sources are read, which may take minutes.
    pipeline = load_pipeline(model) if model else None
    options = _read_options(preset, lang, sabs, semantic_types, columns)
    options |= {"id_prefix": id_prefix, "suppressed": suppressed}
    kb = _read_vocabulary(sources, corpora, format, options)
    msg = Printer()
    if pipeline is None:
        kb.to_disk(output)
    else:
        _write_encoded(kb, output, *pipeline)
    msg.table(count_rows(describe_kb(output)))
    msg.good(f"Built {output}")


def _check_output(output: Path) -> None:
    from ..kb.storage import MANIFEST

    if not output.exists() or (output / MANIFEST).is_file():
        return
    if not output.is_dir() or any(output.iterdir()):
        raise MetricELError(Errors.E138.format(path=output))


def _read_options(
    preset: str | None,
    lang: list[str] | None,
    sabs: list[str] | None,
    semantic_types: list[str] | None,
    columns: list[str] | None,
) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): Fields of `ReadOptions`. RAISES (MetricELError): E313 for a value that is none."""
    from ..kb.importers.semantic_types import ST21PV_SOURCES, ST21PV_TYPES
    from ..kb.importers.table import FIELDS

    if preset not in (None, "st21pv"):
        raise MetricELError(Errors.E313.format(option="--preset", value=preset, known="st21pv"))
    chosen = {
        "sources": _split(sabs) or (ST21PV_SOURCES if preset else frozenset()),
        "semantic_types": _split(semantic_types) or (ST21PV_TYPES if preset else frozenset()),
    }
    places: dict[str, str] = {}
    for column in columns or []:
        field, is_set, heading = column.partition("=")
        if not is_set or not heading or field not in FIELDS:
            known = ", ".join(f"{name}=HEADING" for name in FIELDS)
            raise MetricELError(Errors.E313.format(option="--columns", value=column, known=known))
        places[field] = heading
    languages = {} if not lang else {"languages": _split(lang) - {"all"}}
    return {**chosen, **languages, "columns": places}


def _split(values: list[str] | None) -> frozenset[str]:
    texts = (text.strip() for value in values or [] for text in value.split(","))
    return frozenset(filter(None, texts))


def _read_vocabulary(
    sources: list[Path], mentions: list[Path], format: str | None, options: dict[str, Any]
) -> "FaissKnowledgeBase":
    from ..kb import FaissKnowledgeBase, count_mentions
    from ..kb.importers import read_entities

    # All sources are looked for before the first one is read.
    streams = [read_entities(path, format=format, **options) for path in sources]
    shown = [
        tqdm(stream, f"Reading {path.name}", unit=" concepts", disable=_quiet())
        for path, stream in zip(sources, streams, strict=True)
    ]
    uses = chain.from_iterable(map(read_mentions, mentions))
    counts = count_mentions(
        tqdm(uses, "Counting mentions", unit="", disable=_quiet(bool(mentions)))
    )
    meta = {
        "version": version("spacy-metric-el"),
        "sources": _describe_files(sources),
        "mentions": _describe_files(mentions),
    }
    return FaissKnowledgeBase.from_sources(shown, counts, meta=meta, progress=shows_progress())


def _write_encoded(
    kb: "FaissKnowledgeBase",
    output: Path,
    nlp: "Language",
    linker: "MetricEntityLinker",
) -> None:
    from ..files import replaced_folder

    with replaced_folder(output) as fresh:
        kb.to_disk(fresh)
        linker.load_kb(fresh, nlp=nlp, progress=shows_progress())
        # `load_kb` only warns where it cannot keep the vectors.
        linker.kb.to_disk(fresh)


def _describe_files(paths: list[Path]) -> list[dict[str, Any]]:
    from ..kb.storage import file_checksum

    files = [
        file
        for path in paths
        for file in (sorted(path.rglob("*.RRF*")) if path.is_dir() else [path])
    ]
    return [
        {"name": file.name, "bytes": file.stat().st_size, "sha256": file_checksum(file)}
        for file in files
    ]


def _quiet(is_used: bool = True) -> bool:
    return not (is_used and shows_progress())
