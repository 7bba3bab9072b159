"""Bringing documents to the point where a linker can encode their mentions."""

from collections.abc import Callable, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model

Pipe = Callable[[Doc], Doc]

ABBREVIATION_FACTORIES = {"abbreviation_detector", "scispacy_abbreviation_detector"}
"""Components that find the long forms that the surface channel reads."""


def feeding_pipes(nlp: Language, model: Model) -> list[Pipe]:
    """List the components that documents have to go through before a linker.

    Components in front of the one that the linker listens to are among them, as a
    transformer may cut documents at the sentences that another component found. So
    are those that find abbreviations, wherever they stand.

    nlp (Language): The pipeline; disabled components are none of it.
    model (Model): The linker's model.
    RETURNS (list[Callable[[Doc], Doc]]): The components, up to the one that the
        linker listens to, and those of `ABBREVIATION_FACTORIES`.
    """
    nodes = {id(node) for node in model.walk()}
    is_feeding = [
        any(id(node) in nodes for node in getattr(pipe, "listeners", ()))
        for _, pipe in nlp.pipeline
    ]
    last = max((i for i, feeds in enumerate(is_feeding) if feeds), default=-1)
    return [
        pipe
        for i, (name, pipe) in enumerate(nlp.pipeline)
        if i <= last or nlp.get_pipe_meta(name).factory in ABBREVIATION_FACTORIES
    ]


def feed(pipes: Sequence[Pipe], docs: Sequence[Doc]) -> list[Doc]:
    """Run documents through components, as one batch.

    pipes (Sequence[Callable[[Doc], Doc]]): The components, in order.
    docs (Sequence[Doc]): The documents.
    RETURNS (list[Doc]): The same documents, annotated.
    """
    done = list(docs)
    for pipe in pipes:
        batches: Any = getattr(pipe, "pipe", None)
        done = list(batches(done, batch_size=len(done))) if batches else [pipe(d) for d in done]
    return done
