"""The reader of scispaCy's JSONL."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers import read_entities, read_jsonl

from ...util import write_file as write
from .sources import names, raised, record, write_records


@pytest.mark.parametrize("name", ["kb.jsonl", "kb.json", "kb.jsonl.gz", "KB.JSONL", "no_ending"])
def test_jsonl_is_told_by_ending_or_content(tmp_path, name):
    path = write_records(
        tmp_path / name, record(aliases=["Pyrexia"], types=["T184"], definition="Hot.")
    )
    assert list(read_entities(path)) == [("C1", "Fever", ["Fever", "Pyrexia"], ["T184"], "Hot.")]


def test_jsonl_takes_missing_keys_nulls_blank_lines_and_a_byte_order_mark(tmp_path):
    lines = [
        json.dumps(record()),
        "",
        json.dumps(record("C2", aliases=None, definition=None, more=1)),
    ]
    path = write(tmp_path / "kb.jsonl", "\ufeff" + "\r\n".join(lines))
    assert [entity.concept_id for entity in read_jsonl(path)] == ["C1", "C2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("[1]", "JSON object"),
        ("[" * 100_000, "recursion"),
        ('{"canonical_name": "a"}', "'concept_id' is missing"),
        ('{"concept_id": "C1"}', "'canonical_name' is missing"),
        ('{"concept_id": 1, "canonical_name": "a"}', "'concept_id' is not a string"),
        ('{"concept_id": " ", "canonical_name": "a"}', "'concept_id' is empty"),
        ('{"concept_id": "C1", "canonical_name": ""}', "'canonical_name' is empty"),
        ('{"concept_id": "C1", "canonical_name": "a", "aliases": "b"}', "'aliases' is not a list"),
        ('{"concept_id": "C1", "canonical_name": "a", "types": [1]}', "'types' is not a list"),
        ('{"concept_id": "C1", "canonical_name": "a", "definition": 1}', "'definition' is not"),
        ('{"concept_id": "C1", "canonical_name": "\\ud800"}', "surrogates"),
    ],
)
def test_jsonl_names_the_bad_line(tmp_path, line, reason):
    path = write(tmp_path / "kb.jsonl", json.dumps(record("C0")) + "\n" + line + "\n")
    error = raised(path)
    assert error.code == "E101"
    assert "kb.jsonl, line 2" in str(error)
    assert reason in str(error)


def test_jsonl_streams_up_to_the_bad_line(tmp_path):
    path = write(tmp_path / "kb.jsonl", json.dumps(record()) + "\nbad\n")
    assert next(read_entities(path)).concept_id == "C1"


def test_jsonl_refuses_a_concept_that_comes_twice(tmp_path):
    error = raised(write_records(tmp_path / "kb.jsonl", record("C7"), record("C8"), record("C7 ")))
    assert error.code == "E106"
    assert "kb.jsonl, line 3" in str(error)
    assert "'C7'" in str(error)


@given(
    st.lists(
        st.builds(Entity, names, names, st.lists(names), st.lists(names), st.none() | names),
        min_size=1,
        unique_by=lambda entity: entity.concept_id.strip(),
    )
)
def test_jsonl_round_trip(tmp_path_factory, entities):
    path = tmp_path_factory.mktemp("any") / "kb.jsonl"
    write_records(path, *(entity._asdict() for entity in entities))
    assert list(read_entities(path)) == [clean_entity(entity) for entity in entities]
