"""The pipeline that is measured where no weights but this project's own are wanted."""

from collections.abc import Sequence
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

LINKER = "metric_entity_linker"


def plain_pipeline() -> tuple[Language, Any]:
    """RETURNS (tuple[Language, MetricEntityLinker]): A linker alone, with its default settings and untrained."""
    nlp = spacy.blank("en")
    linker = nlp.add_pipe(LINKER)
    return nlp, linker


def mention_docs(nlp: Language, texts: Sequence[str]) -> list[Doc]:
    """RETURNS (list[Doc]): For each text a document that is one entity."""
    docs = [nlp.make_doc(text) for text in texts if text.strip()]
    for doc in docs:
        doc.ents = [Span(doc, 0, len(doc), label="ENTITY")]
    return docs
