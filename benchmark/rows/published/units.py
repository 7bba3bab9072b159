"""What the published method trains on: the mentions of one entity in one document."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from spacy.tokens import Doc

from ...mentions import Corpus, Mention

MAX_MENTIONS = 20


class Context(NamedTuple):
    """A mention in its sentence.

    left (str): The sentence before it.
    mention (str): The mention.
    right (str): The sentence after it.
    """

    left: str
    mention: str
    right: str


class Unit(NamedTuple):
    """All mentions of an entity in a document.

    entity (int): The entity's place in the knowledge base.
    mentions (tuple[int, ...]): Places in the corpus, at most `MAX_MENTIONS`.
    """

    entity: int
    mentions: tuple[int, ...]


def make_context(doc: Doc, mention: Mention) -> Context:
    """RETURNS (Context): The sentence in which a mention begins; the mention is whole."""
    sentence = doc[mention.start].sent
    left, right = doc[sentence.start : mention.start], doc[mention.end : sentence.end]
    return Context(left.text, doc[mention.start : mention.end].text, right.text)


def form_units(
    corpus: Corpus, places: Mapping[str, int], *, max_mentions: int = MAX_MENTIONS, seed: int = 0
) -> list[Unit]:
    """Gather the mentions of each entity in each document.

    corpus (Corpus): With gold mentions; a composite one counts for its first concept.
    places (Mapping[str, int]): Concept ids of the knowledge base and their places.
    max_mentions (int): Of a unit; drawn where there are more.
    seed (int): Of the draws.
    RETURNS (list[Unit]): In the order of documents.
    """
    grouped: dict[tuple[int, int], list[int]] = {}
    for i, mention in enumerate(corpus.mentions):
        entity = places.get(mention.gold[0]) if mention.gold else None
        if entity is not None:
            grouped.setdefault((mention.doc, entity), []).append(i)
    draw = random.Random(seed)
    return [
        Unit(entity, tuple(sorted(draw.sample(found, min(len(found), max_mentions)))))
        for (_, entity), found in grouped.items()
    ]
