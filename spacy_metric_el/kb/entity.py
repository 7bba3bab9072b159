"""A concept of a vocabulary: scispaCy's record, how one is tidied, and two become one."""

from collections.abc import Iterable

from scispacy.linking_utils import Entity

from ..errors import Errors, MetricELError

__all__ = ["Entity", "clean_entity", "merge_two", "unique_texts"]


def unique_texts(texts: Iterable[str]) -> list[str]:
    """Tidy white space, and drop empty and repeated texts, keeping the order.

    texts (Iterable[str]): Names or types, as a source wrote them.
    RETURNS (list[str]): The texts with every run of white space as one space.
    """
    return list(dict.fromkeys(filter(None, (" ".join(text.split()) for text in texts))))


def clean_entity(entity: Entity) -> Entity:
    """Bring a record to the form that every other module relies on.

    The canonical name is the first of the aliases, no name is empty or
    repeated, and an empty definition is None. A record whose canonical name
    is empty takes its first alias instead.

    entity (Entity): The record of a source.
    RETURNS (Entity): The record, tidied.
    RAISES (MetricELError): E102 if the record has no id or no name.
    """
    concept_id = entity.concept_id.strip()
    aliases = unique_texts([entity.canonical_name, *entity.aliases])
    if not concept_id:
        raise MetricELError(Errors.E102.format(concept=entity.canonical_name, missing="id"))
    if not aliases:
        raise MetricELError(Errors.E102.format(concept=concept_id, missing="name"))
    definition = (entity.definition or "").strip() or None
    return Entity(concept_id, aliases[0], aliases, unique_texts(entity.types), definition)


def merge_two(first: Entity, second: Entity) -> Entity:
    """RETURNS (Entity): Two records of a concept as one, not yet tidied; the first one's name and definition win."""
    return first._replace(
        aliases=[*first.aliases, *second.aliases],
        types=[*first.types, *second.types],
        definition=first.definition or second.definition,
    )
