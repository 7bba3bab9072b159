"""`kb add`, `kb remove` and `kb merge`: knowledge bases made of others."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from spacy.cli._util import Arg, Opt

from ..corpus.files import check_corpus
from ..errors import Errors, MetricELError
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

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase

Changed = Annotated[Path, Arg(help="Folder of the knowledge base")]
Output = Annotated[
    Path | None,
    Opt("--output", "-o", help="Folder to make instead of changing the knowledge base itself"),
]


@kb_app.command("add")
def kb_add_cli(
    path: Changed,
    sources: Annotated[
        list[Path] | None,
        Arg(help="Vocabularies; what the knowledge base says of a concept goes first"),
    ] = None,
    output: Output = None,
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
    workers: Workers = 1,
    gpu_id: GpuId = -1,
) -> None:
    """
    Add concepts, names, and mentions of a training corpus to a knowledge base. Vectors
    of the names that it has are kept; only new ones are encoded.

    \b
    EXAMPLES
    $ spacy metric-el kb add umls.kb local-codes.csv
    $ spacy metric-el kb add umls.kb hp.obo --output both.kb --model ./pipeline
    $ spacy metric-el kb add umls.kb --mentions train.pubtator
    """
    from ..kb.changes import combine

    corpora = mentions or []
    if not sources and not corpora:
        raise MetricELError(Errors.E316.format(path=path))
    for corpus in corpora:
        check_corpus(corpus)
    options = read_options(
        id_prefix=id_prefix,
        lang=lang,
        sources=vocabularies,
        semantic_types=semantic_types,
        preset=preset,
        suppressed=suppressed,
        columns=columns,
    )
    kb, target, pipeline = _prepare([path], output or path, model, gpu_id)
    streams = open_sources(sources or [], format, options)
    meta = _join_meta(kb, describe_files(sources or []), describe_files(corpora))
    made = combine(
        kb,
        streams,
        count_uses(corpora),
        meta=meta,
        work_folder=folder_beside(target),
        progress=shows_progress(),
    )
    write_kb(made, target, pipeline, workers)


@kb_app.command("remove")
def kb_remove_cli(
    path: Changed,
    concept_ids: Annotated[list[str] | None, Arg(help="Concept ids to remove")] = None,
    file: Annotated[
        Path | None, Opt("--file", help="Text file with a concept id on each line")
    ] = None,
    output: Output = None,
) -> None:
    """
    Remove concepts from a knowledge base, with the names that only they bear.

    \b
    EXAMPLES
    $ spacy metric-el kb remove umls.kb C0000001 C0000002
    $ spacy metric-el kb remove umls.kb --file retired.txt --output current.kb
    """
    from ..kb.changes import combine
    from ..lines import read_lines

    listed = [line.strip() for _, line in read_lines(file)] if file is not None else []
    wanted = [concept_id for concept_id in [*(concept_ids or []), *listed] if concept_id]
    (kb,), target, _ = _prepare([path], output or path, None, -1)
    unknown = [concept_id for concept_id in wanted if concept_id not in kb]
    if unknown or not wanted:
        found = f"{len(unknown)} unknown ids, such as {unknown[0]}" if unknown else "no ids"
        raise MetricELError(Errors.E314.format(path=path, found=found))
    made = combine(
        [kb],
        without=wanted,
        meta=_join_meta([kb]),
        work_folder=folder_beside(target),
        progress=shows_progress(),
    )
    write_kb(made, target, None)


@kb_app.command("merge")
def kb_merge_cli(
    output: Annotated[Path, Arg(help="Folder to make; a knowledge base that is there is replaced")],
    paths: Annotated[
        list[Path], Arg(help="Knowledge bases; what the first one says of a concept wins")
    ],
    model: Model = None,
    workers: Workers = 1,
    gpu_id: GpuId = -1,
) -> None:
    """
    Merge knowledge bases by their concept ids. Vectors are kept that the encoder of the
    first one made.

    \b
    EXAMPLES
    $ spacy metric-el kb merge both.kb umls.kb local.kb
    $ spacy metric-el kb merge both.kb umls.kb local.kb --model ./pipeline
    """
    from ..kb.changes import combine

    kbs, target, pipeline = _prepare(paths, output, model, gpu_id)
    made = combine(
        kbs,
        meta=_join_meta(kbs),
        work_folder=folder_beside(target),
        progress=shows_progress(),
    )
    write_kb(made, target, pipeline, workers)


def _prepare(paths: list[Path], output: Path, model: str | None, gpu_id: int) -> tuple:
    """RETURNS (tuple): The knowledge bases, where the result goes, and what encodes it."""
    from ..kb import FaissKnowledgeBase

    use_device(gpu_id)
    check_output(output)
    kbs = [FaissKnowledgeBase.from_disk(path) for path in paths]
    return kbs, output, load_pipeline(model) if model else None


def _join_meta(
    kbs: "list[FaissKnowledgeBase]",
    sources: list[dict[str, Any]] | None = None,
    mentions: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    joined = {"sources": sources or [], "mentions": mentions or []}
    before = {key: [x for kb in kbs for x in kb.meta.get(key, ())] for key in joined}
    asked = [kb.meta["index"] for kb in kbs if "index" in kb.meta]
    return {
        "version": version("spacy-metric-el"),
        **({"index": asked[0]} if asked else {}),
        **{key: [*before[key], *joined[key]] for key in joined},
    }
