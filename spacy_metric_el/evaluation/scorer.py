"""The scorer of the linker: accuracy and recall@k beside spaCy's own scores."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from spacy.scorer import Scorer
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..corpus.alignment import SPANS_KEY, split_ids
from .calibration import calibration
from .mentions import LinkedMention, reciprocal_rank
from .metrics import average, recall_at, share


def make_linking_scorer() -> Callable[..., dict[str, Any]]:
    """Construct the scorer registered as `spacy_metric_el.linking_scorer.v1`.

    RETURNS (Callable[..., dict[str, Any]]): `score_linking`.
    """
    return score_linking


def score_linking(
    examples: Iterable[Example],
    *,
    nil: str = "NIL",
    kb: Container[str] | None = None,
    ks: Sequence[int] = (5, 64),
    **kwargs: Any,
) -> dict[str, Any]:
    """Score the links of predicted entities.

    The `el_*` scores are taken over every gold entity that is linked, and one
    that the pipeline missed counts as wrong. Its ids are those of the mention
    in its place in the reference's span group "mentions", or its own where the
    group has none there. They may be composite, `C1|C2`; any part is right.
    Mentions of the group that are not among the entities, as they overlap
    others, are left out. `el_acc` and `el_acc_in_kb` judge the id that was set,
    so a rightly ranked candidate that the threshold turned into NIL is wrong
    there; `el_recall_at_{k}` and `el_mrr` judge the candidates in
    `ent._.kb_ents`, or the id alone where that list is missing. `el_ece`, the
    expected calibration error of the best candidates' scores, is taken over the
    unlinked gold entities as well; no candidate of these is right.

    The `nel_*` scores are spaCy's, which read the entities alone, pass over
    missed mentions (and are therefore higher on a pipeline with its own NER)
    and compare a composite id only as a whole.

    examples (Iterable[Example]): The examples to score.
    nil (str): The id that stands for 'no concept', besides the empty one.
    kb (Optional[Container[str]]): The concept ids of the knowledge base, for
        `el_acc_in_kb`; without it, every linked gold mention counts as in the KB.
    ks (Sequence[int]): The depths of recall@k.
    RETURNS (dict[str, Any]): `el_acc`, `el_acc_in_kb`, `el_recall_at_{k}`,
        `el_mrr`, `el_ece`, and the results of `Scorer.score_links`.
    """
    examples = list(examples)
    everything = linked_mentions(examples, nil=nil)
    pairs = [(mention, link) for mention, link in everything if mention.gold]
    mentions = [mention for mention, _ in pairs]
    in_kb = [
        (mention, link)
        for mention, link in pairs
        if kb is None or any(concept in kb for concept in mention.gold)
    ]
    return {
        "el_acc": _link_accuracy(pairs),
        "el_acc_in_kb": _link_accuracy(in_kb),
        **{f"el_recall_at_{k}": recall_at(mentions, k) for k in ks},
        "el_mrr": average(mentions, reciprocal_rank),
        "el_ece": calibration(mention for mention, _ in everything)["ece"],
        # spaCy takes an unlinked gold entity with an unlinked prediction for a
        # true positive unless the empty id is among the negative labels.
        **Scorer.score_links(examples, negative_labels=[nil, ""]),
    }


def linked_mentions(
    examples: Iterable[Example], *, nil: str = "NIL"
) -> list[tuple[LinkedMention, str]]:
    """Read the gold entities of examples, each with what was predicted for it.

    examples (Iterable[Example]): The examples; their place is the document id.
    nil (str): The id that stands for 'no concept', besides the empty one.
    RETURNS (list[tuple[LinkedMention, str]]): Every gold entity with its
        candidates, and the id that was set on the predicted entity: empty for
        NIL and for a mention that was not predicted.
    """
    pairs = []
    for number, example in enumerate(examples):
        predicted = {(ent.start_char, ent.end_char): ent for ent in example.predicted.ents}
        composite = _composite_ids(example.reference)
        for ent in example.reference.ents:
            place = (ent.start_char, ent.end_char)
            found = predicted.get(place)
            link = "" if found is None or found.kb_id_ == nil else found.kb_id_
            candidates = () if found is None else _candidates(found, link)
            gold = frozenset(split_ids(composite.get(place, ent.kb_id_), nil=nil))
            pairs.append((LinkedMention(str(number), ent.text, gold, candidates), link))
    return pairs


def _composite_ids(reference: Doc) -> dict[tuple[int, int], str]:
    """Read the ids of the span group "mentions", where the reference has one.

    RETURNS (dict[tuple[int, int], str]): The ids by the first and last character;
        of several mentions in one place the first, which is the one in `doc.ents`.
    """
    ids: dict[tuple[int, int], str] = {}
    for span in reference.spans.get(SPANS_KEY, ()):
        ids.setdefault((span.start_char, span.end_char), span.kb_id_)
    return ids


def _candidates(ent: Span, link: str) -> tuple[tuple[str, float], ...]:
    """Read the candidates of a predicted entity, or its link where it has none.

    RETURNS (tuple[tuple[str, float], ...]): Concept ids and scores, best first.
    """
    candidates = ent._.kb_ents if Span.has_extension("kb_ents") else None
    if candidates:
        return tuple((str(concept), float(score)) for concept, score in candidates)
    return ((link, 1.0),) if link else ()


def _link_accuracy(pairs: Sequence[tuple[LinkedMention, str]]) -> float:
    """RETURNS (float): The share of mentions whose link, not best candidate, is right."""
    return share(sum(link in mention.gold for mention, link in pairs), len(pairs))
