"""Long forms of abbreviations, as scispaCy's `AbbreviationDetector` leaves them on documents."""

from collections.abc import Sequence
from typing import Any

from spacy.tokens import Doc, Span

ABBREVIATIONS = "abbreviations"


def short_forms(doc: Doc) -> dict[str, str]:
    """List the abbreviations of a document.

    doc (Doc): With `doc._.abbreviations`, or without.
    RETURNS (dict[str, str]): Short form to long form; empty if no detector has run.
    """
    if not Doc.has_extension(ABBREVIATIONS):
        return {}
    found = (_texts(abbreviation) for abbreviation in getattr(doc._, ABBREVIATIONS) or ())
    return {short: long for short, long in found if long}


def long_form(span: Span, abbreviations: dict[str, str]) -> str:
    """Write a mention with the long forms of its abbreviations.

    span (Span): The mention.
    abbreviations (dict[str, str]): As `short_forms` lists them.
    RETURNS (str): Its text; "HDL levels" becomes "high-density lipoprotein levels".
    """
    text = span.text
    if not abbreviations:
        return text
    if text in abbreviations:
        return abbreviations[text]
    parts = [abbreviations.get(token.text, token.text) + token.whitespace_ for token in span]
    return "".join(parts).removesuffix(span[-1].whitespace_)


def long_forms(docs: Sequence[Doc], spans: Sequence[tuple[int, int, int]]) -> list[str]:
    """Write mentions with the long forms of their abbreviations.

    docs (Sequence[Doc]): The documents.
    spans (Sequence[tuple[int, int, int]]): Index of the document, first token, last
        token + 1.
    RETURNS (list[str]): A text for each span.
    """
    abbreviations = [short_forms(doc) for doc in docs]
    return [long_form(docs[i][start:end], abbreviations[i]) for i, start, end in spans]


def _texts(abbreviation: Span | dict[str, Any]) -> tuple[str, str | None]:
    """RETURNS (tuple[str, str | None]): Short and long form of a span, or of what scispaCy's setting `make_serializable` makes of it."""
    if isinstance(abbreviation, dict):
        return abbreviation["short_text"], abbreviation["long_text"]
    long = abbreviation._.long_form
    return abbreviation.text, long.text if long is not None else None
