"""Building tables from streams: merged, sorted, and the same whatever fits into memory."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.building import tables as building
from spacy_metric_el.kb.building.tables import build_tables, source_bit
from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers import merge_entities
from spacy_metric_el.text import normalise_name

from ...util import make_records
from ..vocabulary import COUNTS, ENTITIES, entities_of, mention_counts, vocabularies


@pytest.fixture
def on_disk(monkeypatch):
    """Batches of a few rows, each sorted for itself and written to disk."""
    monkeypatch.setitem(build_tables.__kwdefaults__, "memory", 0)
    monkeypatch.setattr(building, "CONCEPTS_PER_BATCH", 2)
    monkeypatch.setattr(building, "LINKS_PER_BATCH", 2)


def assert_equal(found, expected):
    assert found.entities.equals(expected.entities)
    assert found.names.equals(expected.names)


@pytest.mark.usefixtures("on_disk")
def test_what_goes_to_disk_comes_back_the_same(tmp_path, monkeypatch):
    found = build_tables([ENTITIES], COUNTS, folder=tmp_path)
    monkeypatch.undo()
    assert_equal(found, make_records(ENTITIES, COUNTS))


@settings(max_examples=20)
@given(vocabulary=vocabularies, counts=mention_counts)
def test_any_vocabulary_comes_back_the_same(tmp_path_factory, vocabulary, counts):
    expected = make_records(entities_of(vocabulary), counts)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "CONCEPTS_PER_BATCH": 3,
            "LINKS_PER_BATCH": 5,
        }.items():
            patch.setattr(building, name, value)
        folder = tmp_path_factory.mktemp("x")
        found = build_tables([entities_of(vocabulary)], counts, folder=folder, memory=0)
        assert_equal(found, expected)


@given(st.lists(vocabularies, min_size=1, max_size=3))
def test_sources_are_merged_as_records_are(tmp_path_factory, sources):
    streams = [entities_of(vocabulary) for vocabulary in sources]
    found = build_tables(streams, folder=tmp_path_factory.mktemp("x"))
    merged = merge_entities(entity for stream in streams for entity in stream)
    assert list(found.iter_entities()) == sorted(merged, key=lambda entity: entity.concept_id)
    expected = make_records(merged)
    assert found.entities.equals(expected.entities)
    # But for who gave the names.
    names = [records.names.drop_columns(["sources"]) for records in (found, expected)]
    assert names[0].equals(names[1])


@given(st.lists(vocabularies, min_size=1, max_size=3), mention_counts)
def test_who_gave_a_name(tmp_path_factory, sources, counts):
    streams = [entities_of(vocabulary) for vocabulary in sources]
    found = build_tables(streams, counts, folder=tmp_path_factory.mktemp("x"))
    for name in range(found.n_names):
        key = found.names["key"][name].as_py()
        links = found.links_of(name)
        for entity, bits in zip(found.name_entities[links], found.name_sources[links], strict=True):
            concept_id = found.concept_id(entity)
            having = [
                i
                for i, vocabulary in enumerate(sources)
                if key in map(normalise_name, vocabulary.get(concept_id, ()))
            ]
            assert bits == sum(source_bit(i) for i in having)


def test_sources_beyond_the_last_bit_share_it(tmp_path):
    streams = [[Entity("C1", f"name {i}", [])] for i in range(66)]
    found = build_tables([*streams], folder=tmp_path)
    bits = [int(found.name_sources[found.name_index(f"name {i}")]) for i in (0, 1, 62, 63, 64, 65)]
    assert bits == [1, 2, 1 << 62, 1 << 63, 1 << 63, 1 << 63]


@pytest.mark.usefixtures("on_disk")
def test_a_concept_may_come_back_in_its_source(tmp_path):
    first = Entity("C1", "Cold", ["Cold", "chill"], ["T1"])
    again = Entity("C1", "Rhinitis", ["Rhinitis", "cold"], ["T2"], "Runny nose.")
    (entity,) = build_tables([[first, again]], folder=tmp_path).iter_entities()
    names = ["Cold", "chill", "Rhinitis", "cold"]
    assert entity == Entity("C1", "Cold", names, ["T1", "T2"], "Runny nose.")


def test_streams_are_read_once_and_one_after_the_other(tmp_path):
    read = []

    def stream(number):
        read.append(number)
        yield clean_entity(Entity(f"C{number}", f"name {number}", []))

    records = build_tables((stream(i) for i in range(3)), folder=tmp_path)
    assert records.n_entities == 3
    assert read == [0, 1, 2]


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize(
    ("sources", "settings", "code"),
    [
        ([[]], {}, "E131"),
        ([[Entity("", "a", [])]], {}, "E102"),
        ([ENTITIES, ENTITIES[:1]], {"merge": False}, "E130"),
    ],
)
def test_bad_sources_are_refused_and_leave_no_file_open(tmp_path, sources, settings, code):
    with pytest.raises(MetricELError, match=code):
        build_tables(sources, folder=tmp_path, **settings)


@pytest.mark.usefixtures("on_disk")
def test_strange_characters_survive_the_disk(tmp_path):
    names = ["a\x00b", "\u2028x", "\U0001f9ec gene", 'it\'s "quoted"', "%_\\"]
    random.Random(0).shuffle(names)
    entities = [clean_entity(Entity(f"C{i}", name, [name])) for i, name in enumerate(names)]
    assert list(build_tables([entities], folder=tmp_path).iter_entities()) == entities


@pytest.mark.usefixtures("on_disk")
def test_a_disk_that_refuses_is_a_coded_error(tmp_path):
    (tmp_path / "concepts").write_text("a file where a folder is wanted")
    with pytest.raises(MetricELError, match="E140"):
        build_tables([ENTITIES], folder=tmp_path, memory=0)
