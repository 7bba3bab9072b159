"""Gold mentions of an Example, on the tokens of its predicted document."""

from typing import NamedTuple

from spacy.tokens import Doc, Span
from spacy.training import Example

from .alignment import SPANS_KEY, split_ids


class GoldMention(NamedTuple):
    """A gold mention.

    start (int): First token, in the predicted document.
    end (int): Last token + 1.
    text (str): The text of the mention.
    label (str): Its entity label.
    concept_ids (tuple[str, ...]): Its concepts; empty for a mention that is not linked.
    """

    start: int
    end: int
    text: str
    label: str
    concept_ids: tuple[str, ...]

    @property
    def concept_id(self) -> str:
        """RETURNS (str): The first concept; empty for a mention that is not linked."""
        return self.concept_ids[0] if self.concept_ids else ""


def gold_spans(doc: Doc) -> list[Span]:
    """RETURNS (list[Span]): Every gold mention of a reference document, else its entities."""
    if SPANS_KEY in doc.spans:
        return list(doc.spans[SPANS_KEY])
    return list(doc.ents)


def gold_mentions(example: Example, *, nil: str = "NIL") -> list[GoldMention]:
    """List the gold mentions of an example.

    example (Example): With entities, or the span group "mentions", in its reference.
    nil (str): The id that says that a mention is not linked.
    RETURNS (list[GoldMention]): In the reference's order; mentions that no token of
        the predicted document covers are left out.
    """
    same_tokens = len(example.x) == len(example.y) and all(
        x.orth == y.orth for x, y in zip(example.x, example.y, strict=True)
    )
    mentions = []
    for span in gold_spans(example.y):
        start, end = span.start, span.end
        if not same_tokens:
            aligned = example.alignment.y2x[start:end]
            if not len(aligned):
                continue
            start, end = int(aligned.min()), int(aligned.max()) + 1
        ids = split_ids(span.kb_id_, nil=nil)
        mentions.append(GoldMention(start, end, span.text, span.label_, ids))
    return mentions
