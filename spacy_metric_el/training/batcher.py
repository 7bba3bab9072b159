"""Batches that hold several mentions of the same entities, across documents."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from spacy.training import Example

from ..corpus.gold import gold_mentions
from ..errors import Errors, MetricELError


class ClusterBatcher:
    """Groups documents that share entities; registered as `spacy_metric_el.ClusterBatcher.v1`.

    Each batch grows from documents in random order; each brings along others
    that share its rarest entities. Every document is used once an epoch: nothing
    is sampled away, and an entity seen in two documents has both in one batch
    where it can.

    size (int): Mentions in a batch; a document with more is a batch of its own.
    partners (int): Documents that one document may bring along.
    buffer (int): Documents looked at together.
    seed (int): Seed of the batcher's own random numbers.
    RAISES (MetricELError): E231 for sizes below 1.
    """

    def __init__(
        self, size: int = 256, partners: int = 3, buffer: int = 100_000, seed: int = 0
    ) -> None:
        if size < 1 or buffer < 1 or partners < 0:
            raise MetricELError(Errors.E231.format(size=size, partners=partners, buffer=buffer))
        self.size = size
        self.partners = partners
        self.buffer = buffer
        self.rng = random.Random(seed)

    def __call__(self, examples: Iterable[Example]) -> Iterator[list[Example]]:
        """YIELDS (list[Example]): Batches, until every example has been in one."""
        stream = iter(examples)
        while chunk := list(islice(stream, self.buffer)):
            mentions = [Counter(m.concept_id for m in gold_mentions(eg)) for eg in chunk]
            for batch in group_documents(mentions, self.size, self.partners, self.rng):
                yield [chunk[i] for i in batch]


def group_documents(
    mentions: list[Counter[str]], size: int, partners: int, rng: random.Random
) -> Iterator[list[int]]:
    """Order documents so that neighbours share entities, and cut the order into batches.

    mentions (list[Counter[str]]): Mentions of each entity, for each document.
    size (int): Mentions in a batch.
    partners (int): Documents that one document may bring along.
    rng (random.Random): Shuffles.
    YIELDS (list[int]): Indices of documents; each index comes once.
    """
    batch: list[int] = []
    filled = 0
    for document in _neighbourly_order(mentions, partners, rng):
        n_mentions = max(mentions[document].total(), 1)
        if batch and filled + n_mentions > size:
            yield batch
            batch, filled = [], 0
        batch.append(document)
        filled += n_mentions
    if batch:
        yield batch


def _neighbourly_order(
    mentions: list[Counter[str]], partners: int, rng: random.Random
) -> Iterator[int]:
    order = list(range(len(mentions)))
    rng.shuffle(order)
    waiting: dict[str, list[int]] = defaultdict(list)
    for document in order:
        for entity in mentions[document]:
            waiting[entity].append(document)
    n_documents = {entity: len(documents) for entity, documents in waiting.items()}
    used = [False] * len(mentions)
    for document in order:
        if used[document]:
            continue
        used[document] = True
        yield document
        brought = 0
        # "" stands for all mentions that are not linked: sharing it says nothing.
        entities = filter(None, mentions[document])
        rarest_first = sorted(entities, key=lambda entity: (n_documents[entity], entity))
        for entity in rarest_first:
            documents = waiting[entity]
            while documents and brought < partners:
                partner = documents.pop()
                if not used[partner]:
                    used[partner] = True
                    brought += 1
                    yield partner
            if brought == partners:
                break
