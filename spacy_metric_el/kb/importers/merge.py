"""Concepts of several sources, brought together by their ids."""

from collections.abc import Iterable

from ..entity import Entity, clean_entity, merge_two


def merge_entities(entities: Iterable[Entity]) -> list[Entity]:
    """Merge the records that share a concept id.

    Names and types are united in the order in which they come; the canonical
    name and the definition are the first ones.

    entities (Iterable[Entity]): The records of one or, chained, more sources.
    RETURNS (list[Entity]): One tidy record per concept, in order of appearance.
    RAISES (MetricELError): E102 if a record has no id or no name.
    """
    merged: dict[str, Entity] = {}
    repeated: set[str] = set()
    for entity in map(clean_entity, entities):
        known = merged.get(entity.concept_id)
        if known is None:
            merged[entity.concept_id] = entity
        else:
            merged[entity.concept_id] = merge_two(known, entity)
            repeated.add(entity.concept_id)
    return [clean_entity(e) if e.concept_id in repeated else e for e in merged.values()]
