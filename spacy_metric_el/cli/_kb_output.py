"""Where the commands that make a knowledge base put it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from spacy.cli._util import Opt
from wasabi import Printer

from ..errors import Errors, MetricELError
from ._summary import count_rows, describe_kb
from ._util import shows_progress

if TYPE_CHECKING:
    from spacy.language import Language

    from ..kb import FaissKnowledgeBase
    from ..pipeline.linker import MetricEntityLinker


Model = Annotated[
    str | None,
    Opt(
        "--model",
        "-m",
        help="Pipeline that encodes the names that have no vectors yet, by path or package name; if not given, the first pipeline that loads the knowledge base does",
    ),
]
Workers = Annotated[
    int,
    Opt("--workers", min=1, help="Processes that encode names, with --model and on the CPU"),
]
GpuId = Annotated[int, Opt("--gpu-id", "-g", help="GPU id, or -1 for the CPU")]


def check_output(output: Path) -> None:
    """RAISES (MetricELError): E138 for a folder that is neither empty nor a knowledge base."""
    from ..kb.storage import MANIFEST

    if not output.exists() or (output / MANIFEST).is_file():
        return
    if not output.is_dir() or any(output.iterdir()):
        raise MetricELError(Errors.E138.format(path=output))


def folder_beside(output: Path) -> Path:
    """RETURNS (Path): Where files may grow that go to a folder: beside it, on the same disk; made if it is not there."""
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.parent


def write_kb(
    kb: "FaissKnowledgeBase",
    output: Path,
    pipeline: "tuple[Language, MetricEntityLinker] | None",
    workers: int = 1,
) -> None:
    """Write a knowledge base, and say what it holds.

    kb (FaissKnowledgeBase): In memory.
    output (Path): Folder to make or replace, in one step.
    pipeline (tuple[Language, MetricEntityLinker] | None): Encodes what has no vector yet.
    workers (int): Processes that encode names.
    """
    if pipeline is None:
        kb.to_disk(output)
    else:
        _write_encoded(kb, output, *pipeline, workers)
    msg = Printer()
    msg.table(count_rows(describe_kb(output)))
    msg.good(f"Built {output}")


def _write_encoded(
    kb: "FaissKnowledgeBase",
    output: Path,
    nlp: "Language",
    linker: "MetricEntityLinker",
    workers: int,
) -> None:
    linker.encoder.upstream.set_pipeline(nlp)
    vectors = linker.encoder.vectors_of(
        kb, work_folder=output.parent, progress=shows_progress(), workers=workers
    )
    kb.with_vectors(vectors).to_disk(output)
