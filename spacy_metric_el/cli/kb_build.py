"""`kb build`: vocabularies to a knowledge base."""

from collections.abc import Iterable, Iterator
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

    from ..kb import Entity, FaissKnowledgeBase
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
            help="Format of all sources, such as jsonl (scispaCy's) or obo; told by ending and content if not given",
        ),
    ] = None,
    id_prefix: Annotated[
        str,
        Opt(
            "--id-prefix",
            help="Prefix of the cross references that are concept ids, in formats that have them; empty for the terms' own ids",
        ),
    ] = "UMLS",
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
    kb = _read_vocabulary(sources, corpora, format=format, id_prefix=id_prefix)
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


def _read_vocabulary(
    sources: list[Path], mentions: list[Path], *, format: str | None, id_prefix: str
) -> "FaissKnowledgeBase":
    from ..kb import FaissKnowledgeBase, count_mentions
    from ..kb.importers import merge_entities, read_entities

    # All sources are looked for before the first one is read.
    streams = [read_entities(path, format=format, id_prefix=id_prefix) for path in sources]
    entities = merge_entities(_show_concepts(sources, streams))
    uses = chain.from_iterable(map(read_mentions, mentions))
    counts = count_mentions(
        tqdm(uses, "Counting mentions", unit="", disable=_quiet(bool(mentions)))
    )
    meta = {
        "version": version("spacy-metric-el"),
        "sources": _describe_files(sources),
        "mentions": _describe_files(mentions),
    }
    return FaissKnowledgeBase.from_entities(entities, counts, meta=meta)


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


def _show_concepts(
    sources: list[Path], streams: Iterable[Iterable["Entity"]]
) -> Iterator["Entity"]:
    for path, stream in zip(sources, streams, strict=True):
        yield from tqdm(stream, f"Reading {path.name}", unit=" concepts", disable=_quiet())


def _describe_files(paths: list[Path]) -> list[dict[str, Any]]:
    from ..kb.storage import file_checksum

    return [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": file_checksum(path)}
        for path in paths
    ]


def _quiet(is_used: bool = True) -> bool:
    return not (is_used and shows_progress())
