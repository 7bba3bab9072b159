"""Linking the gold mentions of a corpus, timed, and all measures of it in one dictionary."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from spacy import util
from spacy.tokens import Doc
from spacy.training import Example
from tqdm import tqdm

from ..corpus.gold import GoldMention, gold_mentions
from ..mentions import SpanRef
from .baseline import ExactLookup
from .calibration import calibration
from .mentions import LinkedMention
from .metrics import bootstrap_interval, linking_metrics, share, slices
from .nil import nil_metrics

Candidates = Sequence[tuple[str, float]]

DEPTHS = (1, 5, 64)
"""Depths k of recall@k."""


Link = Callable[[list[Doc], list[list[GoldMention]]], tuple[list[Candidates], int]]
"""Gives the candidates of the gold mentions of documents, best first, and how many spans it linked."""


@dataclass
class LinkedCorpus:
    """A corpus that has been linked.

    mentions (list[LinkedMention]): Every gold mention with its candidates.
    documents (int): Number of documents.
    linked (int): Spans that were linked: the gold mentions, or the predicted entities.
    seconds (float): From documents that are tokenized to candidates.
    linking_seconds (float): The part of it that the linker took.
    """

    mentions: list[LinkedMention] = field(default_factory=list)
    documents: int = 0
    linked: int = 0
    seconds: float = 0.0
    linking_seconds: float = 0.0

    def speed(self) -> dict[str, float]:
        """RETURNS (dict[str, float]): Linked spans a second, with and without the upstream."""
        return {
            "mentions_per_second": share(self.linked, self.seconds),
            "linking_mentions_per_second": share(self.linked, self.linking_seconds),
        }


def link_corpus(
    examples: Iterable[Example],
    read: Callable[[list[Doc]], list[Doc]],
    link: Link,
    *,
    nil: str = "NIL",
    batch_size: int = 32,
    progress: bool = False,
) -> LinkedCorpus:
    """Link every gold mention of a corpus, overlapping ones too.

    The best candidate counts whatever its score: the threshold is not applied.

    examples (Iterable[Example]): Read as a stream; with bare predicted documents.
    read (Callable[[list[Doc]], list[Doc]]): Runs documents through all that stands in front
        of the linker.
    link (Link): Such as `link_gold` or `link_predicted`, with what they link by.
    nil (str): The id of a mention without a concept.
    batch_size (int): Documents that go through the pipeline together.
    progress (bool): Whether to show a progress bar.
    RETURNS (LinkedCorpus): Mentions and times.
    """
    run = LinkedCorpus()
    with tqdm(desc="Linking", unit=" documents", disable=not progress) as bar:
        for batch in util.minibatch(examples, batch_size):
            gold = [gold_mentions(example, nil=nil) for example in batch]
            started = perf_counter()
            docs = read([example.predicted for example in batch])
            have_read = perf_counter()
            candidates, n_linked = link(docs, gold)
            ended = perf_counter()
            run.mentions.extend(_make_mentions(batch, gold, candidates, run.documents))
            run.documents += len(batch)
            run.linked += n_linked
            run.seconds += ended - started
            run.linking_seconds += ended - have_read
            bar.update(len(batch))
    return run


def link_gold(
    predict_spans: Callable[..., Sequence[Candidates]],
    docs: Sequence[Doc],
    gold: Sequence[Sequence[GoldMention]],
    *,
    top_k: int = 64,
) -> tuple[list[Candidates], int]:
    """Link the gold mentions themselves.

    predict_spans (Callable): `MetricEntityLinker.predict_spans`, or another one like it.
    docs (Sequence[Doc]): Documents that have been read.
    gold (Sequence[Sequence[GoldMention]]): Their mentions.
    top_k (int): Candidates of each.
    RETURNS (tuple[list[Candidates], int]): See `Link`.
    """
    spans = [SpanRef(i, m.start, m.end) for i, mentions in enumerate(gold) for m in mentions]
    labels = [mention.label for mentions in gold for mention in mentions]
    return list(predict_spans(docs, spans, labels=labels, top_k=top_k)), len(spans)


def link_predicted(
    predict: Callable[..., Sequence[Sequence[Candidates]]],
    docs: Sequence[Doc],
    gold: Sequence[Sequence[GoldMention]],
    *,
    top_k: int = 64,
) -> tuple[list[Candidates], int]:
    """Link the entities that a pipeline found. A gold mention is right if an entity of its very tokens got its concept.

    predict (Callable): `MetricEntityLinker.predict`, or another one like it.
    docs (Sequence[Doc]): Documents with entities.
    gold (Sequence[Sequence[GoldMention]]): Their gold mentions.
    top_k (int): Candidates of each entity.
    RETURNS (tuple[list[Candidates], int]): See `Link`; no candidates for a mention that is no entity.
    """
    found: list[Candidates] = []
    for doc, mentions, candidates in zip(docs, gold, predict(docs, top_k=top_k), strict=True):
        by_tokens = {
            (ent.start, ent.end): linked for ent, linked in zip(doc.ents, candidates, strict=True)
        }
        found.extend(by_tokens.get((mention.start, mention.end), ()) for mention in mentions)
    return found, sum(len(doc.ents) for doc in docs)


def evaluate_links(
    mentions: Sequence[LinkedMention],
    *,
    kb: Container[str],
    seen_names: Container[str],
    seen_entities: Container[str],
    top_k: int = 64,
) -> dict[str, Any]:
    """Take every measure of linked mentions.

    mentions (Sequence[LinkedMention]): The mentions.
    kb (Container[str]): The concept ids of the knowledge base.
    seen_names (Container[str]): Mention texts of the training data, normalised.
    seen_entities (Container[str]): Concept ids of the training data.
    top_k (int): Candidates that were asked for; deeper recalls are left out.
    RETURNS (dict[str, Any]): Those of `linking_metrics`; `acc_interval`, 95 %, by
        documents; `gold_ids` and `gold_ids_not_in_kb`, distinct ones; the `slices`,
        which are also there by their own keys; `calibration` and `nil`, the results
        of `calibration` and `nil_metrics`.
    """
    gold_ids = {concept_id for mention in mentions for concept_id in mention.gold}
    parts = slices(mentions, seen_names=seen_names, seen_entities=seen_entities)
    return {
        **linking_metrics(mentions, kb=kb, ks=[k for k in DEPTHS if k <= top_k]),
        "acc_interval": list(bootstrap_interval(mentions)),
        "gold_ids": len(gold_ids),
        "gold_ids_not_in_kb": sum(concept_id not in kb for concept_id in gold_ids),
        "slices": parts,
        **parts,
        "calibration": calibration(mentions),
        "nil": nil_metrics(mentions, kb=kb),
    }


def evaluate_exact_lookup(
    mentions: Iterable[LinkedMention],
    *,
    kb: Container[str],
    train_mentions: Iterable[tuple[str, str]],
    names: Iterable[tuple[str, str]],
) -> dict[str, float]:
    """Measure what a dictionary would do on the same mentions.

    mentions (Iterable[LinkedMention]): The mentions; their candidates do not matter.
    kb (Container[str]): The concept ids of the knowledge base.
    train_mentions (Iterable[tuple[str, str]]): Texts and concept ids of training mentions.
    names (Iterable[tuple[str, str]]): Names and concept ids of the knowledge base.
    RETURNS (dict[str, float]): `acc` and `acc_in_kb` of `ExactLookup`.
    """
    lookup = ExactLookup(train_mentions, names)
    looked_up = []
    for mention in mentions:
        concept_id = lookup.predict(mention.text)
        candidates = ((concept_id, 1.0),) if concept_id else ()
        looked_up.append(replace(mention, candidates=candidates))
    metrics = linking_metrics(looked_up, kb=kb, ks=())
    return {key: metrics[key] for key in ("acc", "acc_in_kb")}


def _make_mentions(
    examples: Sequence[Example],
    gold: Sequence[Sequence[GoldMention]],
    candidates: Iterable[Candidates],
    n_before: int,
) -> Iterator[LinkedMention]:
    found = iter(candidates)
    for number, (example, mentions) in enumerate(zip(examples, gold, strict=True), n_before):
        doc_id = str(example.reference.user_data.get("doc_id", number))
        for mention in mentions:
            concepts = frozenset(mention.concept_ids)
            yield LinkedMention(doc_id, mention.text, concepts, tuple(next(found)))
