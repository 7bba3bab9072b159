"""Long forms of abbreviations: those that scispaCy's `AbbreviationDetector` left on documents,
and those that other mentions of the document are."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from spacy.tokens import Doc, Span

ABBREVIATIONS = "abbreviations"

MOST_LETTERS = 8
"""Longer words are no short forms of other mentions."""

LONGEST_CODE = 14
"""Characters of a code or symbol, at most."""

CODE_WORDS = 3
"""Words of a code or symbol, at most."""

_OPENING = "(["
_CLOSING = ")],;:"


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
    if not abbreviations or not text:
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
    mentions: list[list[Span]] = [[] for _ in docs]
    for i, start, end in spans:
        mentions[i].append(docs[i][start:end])
    abbreviations = [
        {**forms_among_mentions(found), **forms_in_brackets(found), **short_forms(doc)}
        if has_run(doc)
        else {}
        for doc, found in zip(docs, mentions, strict=True)
    ]
    return [long_form(docs[i][start:end], abbreviations[i]) for i, start, end in spans]


def has_run(doc: Doc) -> bool:
    """RETURNS (bool): Whether a detector of abbreviations has been over a document."""
    return ("._.", ABBREVIATIONS, None, None) in doc.user_data


def forms_among_mentions(mentions: Sequence[Span]) -> dict[str, str]:
    """Find mentions that are the long forms of others, wherever in the document they stand.

    A detector needs the definition in parentheses; many documents have none, or put
    more than the short form there. Only mentions with a word of the same first letter
    are compared.

    mentions (Sequence[Span]): Of one document, in order.
    RETURNS (dict[str, str]): Short form to the first mention that it can stand for, by
        the letters (Schwartz & Hearst 2003).
    """
    shorts = {mention.text: mention for mention in mentions if _is_short_form(mention.text)}
    if not shorts:
        return {}
    from scispacy.abbreviation import find_abbreviation

    by_initial: dict[str, dict[str, Span]] = defaultdict(dict)
    for mention in mentions:
        if mention.text not in shorts:
            for initial in {token.lower_[:1] for token in mention}:
                by_initial[initial].setdefault(mention.text, mention)
    forms: dict[str, str] = {}
    for text, short in shorts.items():
        for long in by_initial[text[0].lower()].values():
            if len(long.text) > len(text) + 2 and text not in long.text:
                _, found = find_abbreviation(long, short)
                if found is not None:
                    forms[text] = found.text
                    break
    return forms


def forms_in_brackets(mentions: Sequence[Span]) -> dict[str, str]:
    """Find codes and symbols that stand in brackets behind a name, or the name behind them.

    "Amrubicin (SM-5887)" has no letters in common, so that no detector of abbreviations
    takes it for one.

    mentions (Sequence[Span]): Of one document.
    RETURNS (dict[str, str]): Code to the first mention that it stands beside.
    """
    forms: dict[str, str] = {}
    for before, inside in pairwise(sorted(mentions, key=lambda mention: mention.start)):
        text = before.doc.text
        between = text[before.end_char : inside.start_char].strip()
        behind = text[inside.end_char : inside.end_char + 2].strip()[:1]
        if between not in _OPENING or behind not in _CLOSING or not (between and behind):
            continue
        if _is_code(inside.text) and not _is_code(before.text):
            forms.setdefault(inside.text, before.text)
        elif _is_code(before.text) and not _is_code(inside.text):
            forms.setdefault(before.text, inside.text)
    return forms


def _is_code(text: str) -> bool:
    capitals = sum(letter.isupper() for letter in text)
    has_form = 2 * capitals > len(text) or any(letter.isdigit() for letter in text)
    return has_form and len(text) <= LONGEST_CODE and len(text.split()) <= CODE_WORDS


def _is_short_form(text: str) -> bool:
    capitals = sum(letter.isupper() for letter in text)
    return 2 <= len(text) <= MOST_LETTERS and " " not in text and 2 * capitals > len(text)


def _texts(abbreviation: Span | dict[str, Any]) -> tuple[str, str | None]:
    """RETURNS (tuple[str, str | None]): Short and long form of a span, or of what scispaCy's setting `make_serializable` makes of it."""
    if isinstance(abbreviation, dict):
        return abbreviation["short_text"], abbreviation["long_text"]
    long = abbreviation._.long_form
    return abbreviation.text, long.text if long is not None else None
