"""A knowledge base that does not hold together is found out."""

import pyarrow as pa
import pytest

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.checks import check_kb
from spacy_metric_el.kb.index.row_vectors import RowVectors
from spacy_metric_el.kb.knowledge_base import FaissKnowledgeBase
from spacy_metric_el.kb.records import Records

from .vocabulary import make_kb


def changed(table, name, values):
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table[name].type))


def with_names(kb, name, values):
    return FaissKnowledgeBase(Records(kb.records.entities, changed(kb.records.names, name, values)))


def with_entities(kb, name, values):
    return FaissKnowledgeBase(Records(changed(kb.records.entities, name, values), kb.records.names))


def with_rows_of(kb, names):
    return FaissKnowledgeBase(kb.records, RowVectors(kb.vectors.index, names, "x"))


def reverse(table, name):
    return table[name].to_pylist()[::-1]


DAMAGES = {
    "concept ids are not sorted": lambda kb: with_entities(
        kb, "concept_id", reverse(kb.records.entities, "concept_id")
    ),
    "not sorted by their hashes": lambda kb: with_names(
        kb, "hash", reverse(kb.records.names, "hash")
    ),
    "a name has no concept": lambda kb: with_names(
        kb, "entities", [[], *kb.records.names["entities"].to_pylist()[1:]]
    ),
    "linked to a concept that is not there": lambda kb: with_names(
        kb, "entities", [[99], *kb.records.names["entities"].to_pylist()[1:]]
    ),
    "a concept has no name": lambda kb: with_names(
        kb, "entities", [[0] * len(x) for x in kb.records.names["entities"].to_pylist()]
    ),
    "lookup of concept ids": lambda kb: with_entities(kb, "id_record", [0] * len(kb)),
    "stands for what is not there": lambda kb: with_rows_of(kb, kb.vectors.names + 1),
    "two rows stand for the same": lambda kb: with_rows_of(kb, kb.vectors.names * 0),
    "not in the order of names": lambda kb: with_rows_of(kb, kb.vectors.names[::-1]),
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_damage_is_named(problem):
    kb = make_kb()
    check_kb(kb)
    with pytest.raises(MetricELError, match=problem) as caught:
        check_kb(DAMAGES[problem](kb))
    assert caught.value.code == "E139"
