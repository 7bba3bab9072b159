"""`kb search`: the concepts nearest to a text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from spacy.cli._util import Arg, Opt
from wasabi import Printer

from ..errors import Errors, MetricELError
from ._util import blank_pipeline, kb_app, load_pipeline, shows_progress

if TYPE_CHECKING:
    from spacy.language import Language

    from ..pipeline.linker import MetricEntityLinker


@kb_app.command("search")
def kb_search_cli(
    path: Annotated[Path, Arg(help="Folder of the knowledge base")],
    texts: Annotated[list[str], Arg(help="Names or mentions to look for")],
    model: Annotated[
        str | None,
        Opt(
            "--model",
            "-m",
            help="Pipeline that encodes the texts, by path or package name; a fresh, untrained one if not given",
        ),
    ] = None,
    top_k: Annotated[
        int, Opt("--top-k", "-k", min=1, help="Number of concepts to show for each text")
    ] = 10,
) -> None:
    """
    Show the concepts nearest to a text, and, where the text is a name of theirs as
    it stands, how often it means each of them.

    Without --model the texts are compared by their spelling, with a fresh pipeline.
    If the names have not been encoded yet, they are, once; vectors that another
    encoder has made are never replaced by a search.

    \b
    EXAMPLES
    $ spacy metric-el kb search hpo.kb "heart attack" seizures
    $ spacy metric-el kb search hpo.kb "heart attack" --model ./pipeline --top-k 3
    """
    for text in texts:
        if not text.strip():
            raise MetricELError(Errors.E307)
    # The linker holds its pipeline weakly, so both are kept.
    nlp, linker = _load_linker(model)
    _open_kb(nlp, linker, path)
    kb = linker.kb
    found = linker.search_names(texts, top_k=top_k)
    msg = Printer()
    for text, candidates in zip(texts, found, strict=True):
        exact = dict(kb.lookup(text))
        msg.divider(text)
        rows = [
            (
                rank,
                concept_id,
                kb[concept_id].canonical_name,
                f"{score:.3f}",
                f"{exact[concept_id]:.2f}" if concept_id in exact else "-",
            )
            for rank, (concept_id, score) in enumerate(candidates, start=1)
        ]
        header = ("", "Concept", "Name", "Score", "p(concept | name)")
        msg.table(rows, header=header, divider=True, aligns=("r", "l", "l", "r", "r"), max_col=60)


def _load_linker(model: str | None) -> tuple["Language", "MetricEntityLinker"]:
    if model is not None:
        return load_pipeline(model)
    nlp = blank_pipeline("en")
    return nlp, cast("MetricEntityLinker", nlp.add_pipe("metric_entity_linker"))


def _open_kb(nlp: "Language", linker: "MetricEntityLinker", path: Path) -> None:
    from ..kb import FaissKnowledgeBase

    has_vectors = FaissKnowledgeBase.from_disk(path).vectors is not None
    try:
        linker.load_kb(path, reencode=not has_vectors, nlp=nlp, progress=shows_progress())
    except MetricELError as err:
        if err.code == "E005":
            raise MetricELError(Errors.E308.format(path=path)) from err
        raise
