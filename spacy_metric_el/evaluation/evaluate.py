"""Linking the gold mentions of a corpus, timed, and all measures of it in one dictionary."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol

from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Model
from tqdm import tqdm

from ..corpus.gold import GoldMention, gold_mentions
from ..encoding.feeding import Pipe, feed, feeding_pipes
from .baseline import ExactLookup
from .calibration import calibration
from .mentions import LinkedMention
from .metrics import bootstrap_interval, linking_metrics, share, slices
from .nil import nil_metrics

Candidates = Sequence[tuple[str, float]]

DEPTHS = (1, 5, 64)
"""Depths k of recall@k."""


class Linker(Protocol):
    """What this module needs of a linker; `MetricEntityLinker` has it."""

    model: Model
    cfg: dict[str, Any]

    def refresh_vectors(self) -> None:
        """Make sure that nothing has to be encoded but the documents."""

    def predict(self, docs: Sequence[Doc], *, top_k: int) -> Sequence[Sequence[Candidates]]:
        """RETURNS (Sequence[Sequence[Candidates]]): For each document and entity candidates, best first."""

    def predict_spans(
        self,
        docs: Sequence[Doc],
        spans: Sequence[tuple[int, int, int]],
        *,
        labels: Sequence[str],
        top_k: int,
    ) -> Sequence[Candidates]:
        """RETURNS (Sequence[Candidates]): For each span (document, first token, last token + 1) candidates, best first."""


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
    nlp: Language,
    linker: Linker,
    examples: Iterable[Example],
    *,
    top_k: int = 64,
    batch_size: int = 32,
    use_predicted_ents: bool = False,
    progress: bool = False,
) -> LinkedCorpus:
    """Link every gold mention of a corpus, overlapping ones too.

    The linker's best candidate counts whatever its score: the threshold is not applied.

    nlp (Language): The pipeline that the linker stands in.
    linker (Linker): With a knowledge base.
    examples (Iterable[Example]): Read as a stream; with bare predicted documents.
    top_k (int): Candidates of each mention.
    batch_size (int): Documents that go through the pipeline together.
    use_predicted_ents (bool): Link the entities that the pipeline finds. A gold
        mention is then right if an entity of its very tokens got its concept.
    progress (bool): Whether to show a progress bar.
    RETURNS (LinkedCorpus): Mentions and times.
    """
    linker.refresh_vectors()
    run = LinkedCorpus()
    pipes = _pipes_before(nlp, linker) if use_predicted_ents else feeding_pipes(nlp, linker.model)
    link = _link_predicted if use_predicted_ents else _link_gold
    with tqdm(desc="Linking", unit=" documents", disable=not progress) as bar:
        for batch in util.minibatch(examples, batch_size):
            gold = [gold_mentions(example, nil=linker.cfg["nil"]) for example in batch]
            started = perf_counter()
            docs = feed(pipes, [example.predicted for example in batch])
            fed = perf_counter()
            candidates, n_linked = link(linker, docs, gold, top_k)
            ended = perf_counter()
            run.mentions.extend(_make_mentions(batch, gold, candidates, run.documents))
            run.documents += len(batch)
            run.linked += n_linked
            run.seconds += ended - started
            run.linking_seconds += ended - fed
            bar.update(len(batch))
    return run


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


def _pipes_before(nlp: Language, linker: Linker) -> list[Pipe]:
    pipes = [pipe for _, pipe in nlp.pipeline]
    position = next((i for i, pipe in enumerate(pipes) if pipe is linker), len(pipes))
    return pipes[:position]


def _link_gold(
    linker: Linker, docs: Sequence[Doc], gold: Sequence[Sequence[GoldMention]], top_k: int
) -> tuple[list[Candidates], int]:
    """RETURNS (tuple[list[Candidates], int]): Candidates of all gold mentions, and how many spans were linked."""
    spans = [
        (i, mention.start, mention.end) for i, mentions in enumerate(gold) for mention in mentions
    ]
    labels = [mention.label for mentions in gold for mention in mentions]
    found = linker.predict_spans(docs, spans, labels=labels, top_k=top_k)
    return list(found), len(spans)


def _link_predicted(
    linker: Linker, docs: Sequence[Doc], gold: Sequence[Sequence[GoldMention]], top_k: int
) -> tuple[list[Candidates], int]:
    """RETURNS (tuple[list[Candidates], int]): As `_link_gold`; none for a mention that is no entity."""
    found: list[Candidates] = []
    for doc, mentions, candidates in zip(
        docs, gold, linker.predict(docs, top_k=top_k), strict=True
    ):
        by_tokens = {
            (ent.start, ent.end): linked for ent, linked in zip(doc.ents, candidates, strict=True)
        }
        found.extend(by_tokens.get((mention.start, mention.end), ()) for mention in mentions)
    return found, sum(len(doc.ents) for doc in docs)
