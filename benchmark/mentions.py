"""Gold mentions to link: where they stand, what they mean, and what they abbreviate."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import spacy
from scispacy.abbreviation import AbbreviationDetector
from spacy.language import Language
from spacy.tokens import Doc

from spacy_metric_el.corpus.gold import gold_mentions
from spacy_metric_el.corpus.readers import PubTatorCorpus

from .errors import BenchmarkError, Errors


@dataclass(frozen=True, slots=True)
class Mention:
    """A gold mention.

    doc (int): The place of its document in the corpus.
    doc_id (str): The document's id.
    start (int): First token.
    end (int): Last token + 1.
    text (str): What a linker looks up: the text of the tokens, or its long form.
    gold (tuple[str, ...]): Concept ids, any of which is right; empty for NIL.
    long_form (str): What the document says that the mention abbreviates; empty if nothing.
    label (str): Its gold type, for linkers that are told it.
    """

    doc: int
    doc_id: str
    start: int
    end: int
    text: str
    gold: tuple[str, ...]
    long_form: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents, tokenized and cut into sentences, and their gold mentions.

    docs (list[Doc]): Without entities.
    mentions (list[Mention]): In the order of the documents.
    """

    docs: list[Doc]
    mentions: list[Mention]


def make_tokenizer() -> Language:
    """RETURNS (Language): English tokens, and sentences that end at punctuation."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return nlp


def read_corpus(
    nlp: Language, path: str | Path, *, limit: int = 0, abbreviations: bool = True
) -> Corpus:
    """Read a PubTator file.

    nlp (Language): As `make_tokenizer` makes it.
    path (str | Path): The file, plain or `.gz`.
    limit (int): Take only so many documents; 0 for all.
    abbreviations (bool): Whether to look for long forms.
    RETURNS (Corpus): Its documents and mentions.
    RAISES (MetricELError): E401 for a missing file, and what `read_pubtator` raises.
    """
    if not Path(path).is_file():
        raise BenchmarkError(Errors.E401.format(path=path))
    detector = AbbreviationDetector(nlp) if abbreviations else None
    docs: list[Doc] = []
    mentions: list[Mention] = []
    for example in PubTatorCorpus(path, limit=limit)(nlp):
        doc = nlp(example.predicted)
        long_forms = find_long_forms(detector, doc) if detector else {}
        doc_id = str(example.reference.user_data["doc_id"])
        mentions.extend(
            Mention(
                len(docs),
                doc_id,
                gold.start,
                gold.end,
                gold.text,
                gold.concept_ids,
                long_forms.get((gold.start, gold.end), ""),
                gold.label,
            )
            for gold in gold_mentions(example)
        )
        docs.append(doc)
    return Corpus(docs, mentions)


def find_long_forms(detector: AbbreviationDetector, doc: Doc) -> dict[tuple[int, int], str]:
    """Ask scispaCy which tokens of a document are short forms.

    detector (AbbreviationDetector): The detector.
    doc (Doc): The document.
    RETURNS (dict[tuple[int, int], str]): First token and last + 1 of each short form,
        in the definition and everywhere else, with its long form.
    """
    before = dict(doc.user_data)
    with warnings.catch_warnings():
        # A document that defines nothing leaves its matcher without patterns.
        warnings.filterwarnings("ignore", message=r"\[W036\]")
        detector(doc)
    found = {
        (short.start, short.end): short._.long_form.text
        for short in doc._.abbreviations
        if short._.long_form is not None
    }
    # The detector leaves spans there, which cannot be copied.
    doc.user_data = before
    return {place: text for place, text in found.items() if text.strip()}


def expand_abbreviations(nlp: Language, corpus: Corpus) -> tuple[Corpus, list[int]]:
    """Write the long form in the place of each mention that is a short form.

    Only those mentions are kept. Where two of them overlap, their document comes
    twice, each time with one of them replaced.

    nlp (Language): As `make_tokenizer` makes it.
    corpus (Corpus): With the documents as written.
    RETURNS (tuple[Corpus, list[int]]): The rewritten documents with those mentions,
        and for each its place among the mentions of `corpus`.
    """
    docs: list[Doc] = []
    mentions: list[Mention] = []
    numbers: list[int] = []
    short = [i for i, mention in enumerate(corpus.mentions) if mention.long_form]
    for place, group in groupby(short, key=lambda i: corpus.mentions[i].doc):
        for layer in _layers(list(group), corpus.mentions):
            doc, moved = _rewrite(nlp, corpus.docs[place], [corpus.mentions[i] for i in layer])
            mentions.extend(replace(mention, doc=len(docs)) for mention in moved)
            numbers.extend(layer)
            docs.append(doc)
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return Corpus(docs, [mentions[i] for i in order]), [numbers[i] for i in order]


def _layers(numbers: list[int], mentions: Sequence[Mention]) -> Iterable[list[int]]:
    """YIELDS (list[int]): Mentions that do not overlap, from left to right, until all are taken."""
    left = sorted(numbers, key=lambda i: (mentions[i].start, mentions[i].end))
    while left:
        layer: list[int] = []
        for i in left:
            if not layer or mentions[i].start >= mentions[layer[-1]].end:
                layer.append(i)
        yield layer
        left = [i for i in left if i not in layer]


def _rewrite(nlp: Language, doc: Doc, mentions: Sequence[Mention]) -> tuple[Doc, Iterable[Mention]]:
    """RETURNS (tuple[Doc, Iterable[Mention]]): The document with the long forms, and where they stand."""
    pieces: list[str] = []
    places: list[int] = []
    at = length = 0
    for mention in mentions:
        span = doc[mention.start : mention.end]
        pieces += [doc.text[at : span.start_char], mention.long_form]
        length += len(pieces[-2])
        places.append(length)
        length += len(mention.long_form)
        at = span.end_char
    rewritten = nlp("".join([*pieces, doc.text[at:]]))
    moved = []
    for mention, start in zip(mentions, places, strict=True):
        first, last = place_span(rewritten, start, start + len(mention.long_form))
        moved.append(replace(mention, start=first, end=last, text=mention.long_form, long_form=""))
    return rewritten, moved


def place_span(doc: Doc, start_char: int, end_char: int) -> tuple[int, int]:
    """Find the tokens of a stretch of text.

    doc (Doc): The document.
    start_char (int): First character.
    end_char (int): Last character + 1.
    RETURNS (tuple[int, int]): First token and last + 1 of those that the stretch touches.
    """
    span = doc.char_span(start_char, end_char, alignment_mode="expand")
    if span is None:
        setting, expected = "char_span", f"inside a text of {len(doc.text)} characters"
        value = f"{start_char}:{end_char}"
        raise BenchmarkError(Errors.E410.format(setting=setting, value=value, expected=expected))
    return span.start, span.end
