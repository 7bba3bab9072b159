"""Candidates and links on documents, and copies of examples to be scored."""

from collections.abc import Sequence

from spacy.tokens import Doc, Span
from spacy.training import Example

from ..mentions import Candidate


def set_candidates(
    docs: Sequence[Doc], candidates: Sequence[Sequence[Sequence[Candidate]]]
) -> None:
    """Write `ent._.kb_ents`.

    docs (Sequence[Doc]): The documents.
    candidates (Sequence[Sequence[Sequence[Candidate]]]): Of each document's entities.
    """
    for doc, doc_candidates in zip(docs, candidates, strict=True):
        for ent, ent_candidates in zip(doc.ents, doc_candidates, strict=True):
            ent._.kb_ents = list(ent_candidates)


def set_links(
    docs: Sequence[Doc],
    candidates: Sequence[Sequence[Sequence[Candidate]]],
    *,
    threshold: float | None,
    nil: str,
    overwrite: bool,
) -> None:
    """Write the best candidate of each entity to its tokens.

    docs (Sequence[Doc]): The documents.
    candidates (Sequence[Sequence[Sequence[Candidate]]]): Of each document's entities, best first.
    threshold (float | None): A best score below it gives `nil`.
    nil (str): The id of an entity that is linked to nothing.
    overwrite (bool): Whether to replace links that entities already have.
    """
    for doc, doc_candidates in zip(docs, candidates, strict=True):
        for ent, ent_candidates in zip(doc.ents, doc_candidates, strict=True):
            if ent.kb_id and not overwrite:
                continue
            best, score = ent_candidates[0] if ent_candidates else (nil, 0.0)
            for token in ent:
                token.ent_kb_id_ = best if score >= (threshold or 0.0) else nil


def copy_to_score(example: Example, *, gold_ents: bool) -> Example:
    """Copy an example to score it.

    States of the upstream components are shared, not copied.

    example (Example): With predictions.
    gold_ents (bool): Whether the predicted side of the copy gets the gold entities.
    RETURNS (Example): The copy.
    """
    predicted = example.predicted
    doc = predicted[:].as_doc() if len(predicted) else Doc(predicted.vocab)
    doc.user_data = dict(predicted.user_data)
    doc.tensor = predicted.tensor
    copy = Example(doc, example.reference)
    if gold_ents:
        ents, _ = copy.get_aligned_ents_and_ner()
        doc.set_ents([Span(doc, ent.start, ent.end, label=ent.label) for ent in ents])
    return copy
