"""`kb build`: vocabularies to a knowledge base."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from spacy.cli._util import Arg, Opt

from ..corpus.files import check_corpus
from ._kb_output import GpuId, Model, Workers, check_output, folder_beside, write_kb
from ._sources import (
    Columns,
    Format,
    IdPrefix,
    Lang,
    Mentions,
    Preset,
    SemanticTypes,
    Sources,
    Suppressed,
    count_uses,
    describe_files,
    open_sources,
    read_options,
)
from ._util import kb_app, load_pipeline, shows_progress, use_device


@kb_app.command("build")
def kb_build_cli(
    output: Annotated[Path, Arg(help="Folder to make; a knowledge base that is there is replaced")],
    sources: Annotated[
        list[Path],
        Arg(
            help="Vocabularies, plain or .gz; concepts of several are merged by their ids, the first one's name and definition win"
        ),
    ],
    format: Format = None,
    id_prefix: IdPrefix = "UMLS",
    lang: Lang = None,
    vocabularies: Sources = None,
    semantic_types: SemanticTypes = None,
    preset: Preset = None,
    suppressed: Suppressed = False,
    columns: Columns = None,
    mentions: Mentions = None,
    model: Model = None,
    index: Annotated[
        str,
        Opt(
            "--index",
            help="FAISS factory string of the index, such as HNSW32,SQ8; chosen by the number of names if not given",
        ),
    ] = "",
    workers: Workers = 1,
    gpu_id: GpuId = -1,
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
        --model ./pipeline --index "IVF4096,PQ192x4fs,Refine(SQfp16)"
    """
    from ..kb import FaissKnowledgeBase

    corpora = mentions or []
    use_device(gpu_id)
    check_output(output)
    for corpus in corpora:
        check_corpus(corpus)
    # Loaded before the sources are read, which may take minutes.
    pipeline = load_pipeline(model) if model else None
    options = read_options(
        id_prefix=id_prefix,
        lang=lang,
        sources=vocabularies,
        semantic_types=semantic_types,
        preset=preset,
        suppressed=suppressed,
        columns=columns,
    )
    streams = open_sources(sources, format, options)
    uses = count_uses(corpora)
    meta = {
        "version": version("spacy-metric-el"),
        "sources": describe_files(sources),
        "mentions": describe_files(corpora),
        **({"index": index} if index else {}),
    }
    kb = FaissKnowledgeBase.from_sources(
        streams, uses, meta=meta, work_folder=folder_beside(output), progress=shows_progress()
    )
    write_kb(kb, output, pipeline, workers)
