"""Candidates and links on documents, and copies of examples to be scored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spacy import util
from spacy.tokens import Doc, Span
from spacy.training import Example

if TYPE_CHECKING:
    from .linker import MetricEntityLinker

SCORED_CANDIDATES = 64
"""Candidates that scoring looks at, whatever `top_k` is."""


def set_candidates(docs: Sequence[Doc], candidates: Sequence[Sequence[list]]) -> None:
    """Write `ent._.kb_ents`.

    docs (Sequence[Doc]): The documents.
    candidates (Sequence[Sequence[list]]): Of each document's entities.
    """
    for doc, doc_candidates in zip(docs, candidates, strict=True):
        for ent, ent_candidates in zip(doc.ents, doc_candidates, strict=True):
            ent._.kb_ents = list(ent_candidates)


def set_links(
    docs: Sequence[Doc],
    candidates: Sequence[Sequence[list]],
    *,
    threshold: float | None,
    nil: str,
    overwrite: bool,
) -> None:
    """Write the best candidate of each entity to its tokens.

    docs (Sequence[Doc]): The documents.
    candidates (Sequence[Sequence[list]]): Of each document's entities, best first.
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


def scored_copy(example: Example, *, gold_ents: bool) -> Example:
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


def score_copies(
    linker: "MetricEntityLinker", examples: Sequence[Example], **kwargs: Any
) -> dict[str, Any]:
    """Link copies of the documents, with the gold mentions or their own, and score them.

    linker (MetricEntityLinker): Has a scorer, or none.
    examples (Sequence[Example]): With predictions; they stay what they are.
    **kwargs (Any): For the scorer.
    RETURNS (dict[str, Any]): The scores, without any where no scorer is set.
    """
    if linker.scorer is None:
        return {}
    use_gold_ents = linker.cfg["use_gold_ents"]
    copies = [scored_copy(example, gold_ents=use_gold_ents) for example in examples]
    for batch in util.minibatch([example.predicted for example in copies], 32):
        found = linker.predict(batch, top_k=SCORED_CANDIDATES)
        if use_gold_ents:
            linker.set_annotations(batch, found)
        else:
            set_candidates(batch, found)
    return linker.scorer(copies, nil=linker.cfg["nil"], kb=linker.kb_slot.kb, **kwargs)
