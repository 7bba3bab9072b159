"""scispaCy's vocabulary format: one JSON record of a concept per line."""

import json
from collections.abc import Iterator
from pathlib import Path

from ...errors import Errors, MetricELError
from ...lines import read_lines
from ..entity import Entity, clean_entity


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _find_problem(record: object) -> str:
    """RETURNS (str): What is wrong with a record; empty if nothing is."""
    if not isinstance(record, dict):
        return "expected one JSON object per line"
    for key in ("concept_id", "canonical_name"):
        if key not in record:
            return f"'{key}' is missing"
        if not isinstance(record[key], str):
            return f"'{key}' is not a string"
        if not record[key].strip():
            return f"'{key}' is empty"
    for key in ("aliases", "types"):
        if not _is_texts(record.get(key) or []):
            return f"'{key}' is not a list of strings"
    if not isinstance(record.get("definition") or "", str):
        return "'definition' is not a string"
    return ""


def _parse_record(line: str) -> Entity:
    """RAISES (ValueError): If the line is no record of a concept."""
    record = json.loads(line)
    if problem := _find_problem(record):
        raise ValueError(problem)
    entity = Entity(
        record["concept_id"],
        record["canonical_name"],
        record.get("aliases") or [],
        record.get("types") or [],
        record.get("definition"),
    )
    # JSON may escape half of a surrogate pair, which no UTF-8 writer takes later.
    if "\\u" in line:
        "".join([entity.concept_id, *entity.aliases, *entity.types]).encode()
        (entity.canonical_name + (entity.definition or "")).encode()
    return clean_entity(entity)


def read_jsonl(path: str | Path) -> Iterator[Entity]:
    """Stream the concepts of a file in scispaCy's JSONL format.

    The keys `concept_id` and `canonical_name` are required, `aliases`, `types`
    and `definition` may be missing or null, and other keys are ignored.

    path (str | Path): The file, plain or `.gz`.
    YIELDS (Entity): One tidy record per line; blank lines are skipped.
    RAISES (MetricELError): E101 if a line is no record of a concept, E106 if a
        concept comes twice, E111 if the file has none.
    """
    seen: set[str] = set()
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            entity = _parse_record(line)
        except (ValueError, RecursionError) as error:
            raise MetricELError(Errors.E101.format(path=path, line=number, reason=error)) from error
        concept = entity.concept_id
        if concept in seen:
            raise MetricELError(Errors.E106.format(path=path, line=number, concept=concept))
        seen.add(concept)
        yield entity
    if not seen:
        raise MetricELError(Errors.E111.format(path=path))
