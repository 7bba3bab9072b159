"""Annotated documents as spaCy Docs: mentions placed on tokens, and counted."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.util import filter_spans

from ..files import replaced_file
from .pubtator import PubTatorDocument, PubTatorMention, read_pubtator

SPANS_KEY = "mentions"

ID_SEPARATOR = "|"
"""Between the ids of a mention of several concepts."""


@dataclass(frozen=True, slots=True)
class AlignmentCounts:
    """How the mentions of documents came to lie on tokens.

    mentions (int): All mentions, the dropped ones as well.
    expanded (int): Those that begin or end inside a token and were expanded.
    overlapping (int): Those that overlap a longer one and are not in `doc.ents`.
    dropped (int): Those without any token, such as a mention of white space.
    nil (int): Those without a concept id.
    """

    mentions: int = 0
    expanded: int = 0
    overlapping: int = 0
    dropped: int = 0
    nil: int = 0

    def __add__(self, other: "AlignmentCounts") -> "AlignmentCounts":
        return AlignmentCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def join_ids(concept_ids: Iterable[str]) -> str:
    """RETURNS (str): The ids of a mention as one `kb_id`; empty without any."""
    return ID_SEPARATOR.join(concept_ids)


def split_ids(kb_id: str, *, nil: str = "") -> tuple[str, ...]:
    """Take the `kb_id` of a mention apart.

    kb_id (str): As `join_ids` makes it.
    nil (str): The id that says that a mention is not linked.
    RETURNS (tuple[str, ...]): The ids; empty for a mention that is not linked.
    """
    return tuple(part for part in kb_id.split(ID_SEPARATOR) if part and part != nil)


def _place_mention(doc: Doc, mention: PubTatorMention) -> Span | None:
    """RETURNS (Span | None): The tokens that a mention touches; None if it is only white space."""
    # Surrounding white space would drag white-space tokens into the span.
    start = mention.end - len(mention.text.lstrip())
    end = mention.start + len(mention.text.rstrip())
    if start >= end:
        return None
    kb_id = join_ids(mention.concept_ids)
    return doc.char_span(start, end, label=mention.label, kb_id=kb_id, alignment_mode="expand")


def make_gold_doc(nlp: Language, document: PubTatorDocument) -> tuple[Doc, AlignmentCounts]:
    """Tokenize a document and set its mentions.

    `doc.spans["mentions"]` has all mentions, with `|` between the concept ids of
    one; `doc.ents` has those that do not overlap (the longest, then the
    leftmost), with the first concept id, which is empty for NIL.
    `doc.user_data["doc_id"]` is the document's id.

    nlp (Language): The pipeline whose tokenizer is used.
    document (PubTatorDocument): The document.
    RETURNS (tuple[Doc, AlignmentCounts]): The Doc, and how its mentions were placed.
    """
    doc = nlp.make_doc(document.text)
    doc.user_data["doc_id"] = document.doc_id
    placed = [(_place_mention(doc, mention), mention) for mention in document.mentions]
    spans = [span for span, _ in placed if span is not None]
    ents = filter_spans(spans)
    doc.spans[SPANS_KEY] = spans
    doc.ents = tuple(
        Span(doc, ent.start, ent.end, label=ent.label, kb_id=join_ids(split_ids(ent.kb_id_)[:1]))
        for ent in ents
    )
    counts = AlignmentCounts(
        mentions=len(placed),
        expanded=sum(
            span is not None and (span.start_char < mention.start or span.end_char > mention.end)
            for span, mention in placed
        ),
        overlapping=len(spans) - len(ents),
        dropped=len(placed) - len(spans),
        nil=sum(not mention.concept_ids for mention in document.mentions),
    )
    return doc, counts


def write_docbin(nlp: Language, paths: Iterable[str | Path], output: str | Path) -> AlignmentCounts:
    """Convert PubTator files to one `.spacy` file.

    The file is written under a temporary name and renamed, so that it is
    either complete or not there.

    nlp (Language): The pipeline whose tokenizer is used.
    paths (Iterable[str | Path]): The PubTator files.
    output (str | Path): The file to write; its folder is made if missing.
    RETURNS (AlignmentCounts): How the mentions were placed.
    RAISES (MetricELError): What `read_pubtator` raises.
    """
    docbin, total = DocBin(store_user_data=True), AlignmentCounts()
    for path in paths:
        for document in read_pubtator(path):
            doc, counts = make_gold_doc(nlp, document)
            docbin.add(doc)
            total += counts
    with replaced_file(Path(output)) as fresh:
        docbin.to_disk(fresh)
    return total
