import random
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import records as records_module
from spacy_metric_el.kb.building import tables as building_module
from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.kb.knowledge_base import FaissKnowledgeBase
from spacy_metric_el.kb.records import (
    ENTITIES_FILE,
    NAMES_FILE,
    Records,
    open_records,
    write_records,
)
from spacy_metric_el.text import normalise_name, stable_hash

from ..util import make_records
from .vocabulary import COUNTS, ENTITIES, entities_of, mention_counts, vocabularies


def links_of(records):
    """{(name's key, concept id): count}"""
    offsets = records.name_offsets
    keys = records.names["key"].to_pylist()
    return {
        (keys[name], records.concept_id(records.name_entities[link])): records.name_counts[link]
        for name in range(records.n_names)
        for link in range(offsets[name], offsets[name + 1])
    }


def naive_links(vocabulary, counts):
    links = defaultdict(int)
    for cid, aliases in vocabulary.items():
        for alias in aliases:
            links[normalise_name(alias), cid] += 0
    for (text, cid), count in counts.items():
        links[normalise_name(text), cid] += count
    return dict(links)


def files_of(records, folder):
    folder.mkdir(exist_ok=True)
    write_records(records, folder)
    return {name: (folder / name).read_bytes() for name in (ENTITIES_FILE, NAMES_FILE)}


def test_entities_come_in_the_order_of_concept_ids():
    records = make_records(ENTITIES)
    entities = list(records.iter_entities())
    assert [entity.concept_id for entity in entities] == ["C1", "C2", "C3", "C4"]
    assert entities[0] == Entity(
        "C1",
        "Common cold",
        ["Common cold", "Cold", "acute rhinitis"],
        ["T047"],
        "A viral infection.",
    )
    assert entities[2].types == ["T047", "T046"]
    assert entities[3].definition is None
    assert records.entity(0) == entities[0]


def test_names_come_in_the_order_of_their_hashes():
    records = make_records(ENTITIES, COUNTS)
    hashes = records.names["hash"].to_pylist()
    assert hashes == sorted(hashes)
    assert hashes == [stable_hash(key) for key in records.names["key"].to_pylist()]


def test_the_order_of_the_input_changes_no_byte_on_disk(tmp_path):
    all_counts = {**COUNTS, ("grippe", "C5"): 1, ("Grippe", "C5"): 1, ("GRIPPE", "C1"): 1}
    expected = files_of(make_records(ENTITIES, all_counts), tmp_path / "expected")
    for seed in range(5):
        entities, counts = list(ENTITIES), list(all_counts.items())
        random.Random(seed).shuffle(entities)
        random.Random(seed).shuffle(counts)
        assert files_of(make_records(entities, dict(counts)), tmp_path / "found") == expected


def test_the_hash_of_a_name_never_changes():
    # Files on disk are sorted by it.
    assert stable_hash("common cold") == 0xA86E09B8AE2A7A2F


@given(vocabularies, mention_counts)
def test_links_and_priors_equal_naive_counting(vocabulary, counts):
    records = make_records(entities_of(vocabulary), counts)
    expected = naive_links(vocabulary, counts)
    assert links_of(records) == expected
    preferred = {(normalise_name(e.canonical_name), e.concept_id) for e in entities_of(vocabulary)}
    own = naive_links(vocabulary, {})
    weights = {
        link: n + (0.0 if link not in own else 1.0 if link in preferred else 0.5)
        for link, n in expected.items()
    }
    kb, is_preferred = FaissKnowledgeBase(records), records.name_is_preferred
    for place, (key, cid) in enumerate(links_of(records)):
        total = sum(weight for (other, _), weight in weights.items() if other == key)
        assert dict(kb.lookup(key))[cid] == pytest.approx(weights[key, cid] / total)
        assert is_preferred[place] == ((key, cid) in preferred)


@given(vocabularies, mention_counts)
def test_names_of_entities_are_the_inverse_of_entities_of_names(vocabulary, counts):
    records = make_records(entities_of(vocabulary), counts)
    found = {
        (int(name), entity)
        for entity in range(records.n_entities)
        for name in records.names_of(entity)
    }
    expected = {
        (name, int(entity))
        for name in range(records.n_names)
        for entity in records.name_entities[records.links_of(name)]
    }
    assert found == expected
    assert len(records.entity_names) == len(expected)


@given(vocabularies, mention_counts, st.data())
def test_bearers_of_names_equal_a_loop(vocabulary, counts, data):
    records = make_records(entities_of(vocabulary), counts)
    names = np.asarray(
        data.draw(st.lists(st.integers(0, records.n_names - 1), max_size=6)), dtype=np.int64
    )
    owners, entities = records.bearers_of(names)
    expected = [
        (place, int(entity))
        for place, name in enumerate(names)
        for entity in records.name_entities[records.links_of(name)]
    ]
    assert list(zip(owners.tolist(), entities.tolist(), strict=True)) == expected


@given(vocabularies, mention_counts)
def test_what_the_vocabulary_has_itself_equals_a_loop(vocabulary, counts):
    records = make_records(entities_of(vocabulary), counts)
    given_links = set(naive_links(vocabulary, {}))
    found = dict(zip(links_of(records), records.name_in_vocabulary.tolist(), strict=True))
    assert found == {link: link in given_links for link in naive_links(vocabulary, counts)}
    ids = [entity.concept_id for entity in records.iter_entities()]
    assert records.entity_in_vocabulary.tolist() == [cid in vocabulary for cid in ids]


@given(vocabularies, mention_counts)
def test_mentions_of_entities_equal_naive_counting(vocabulary, counts):
    records = make_records(entities_of(vocabulary), counts)
    expected = defaultdict(int)
    for (_, cid), count in counts.items():
        expected[cid] += count
    ids = [entity.concept_id for entity in records.iter_entities()]
    assert records.entity_counts.tolist() == [expected[cid] for cid in ids]


@pytest.mark.parametrize("collide", [False, True])
@settings(max_examples=30)
@given(vocabulary=vocabularies)
def test_lookups_hit_and_miss_even_if_all_hashes_collide(collide, vocabulary):
    with pytest.MonkeyPatch.context() as patch:
        if collide:
            for module in (records_module, building_module):
                patch.setattr(module, "stable_hash", lambda text: 7)
        records = make_records(entities_of(vocabulary))
        ids = [entity.concept_id for entity in records.iter_entities()]
        assert [records.entity_index(cid) for cid in ids] == list(range(len(ids)))
        for cid, aliases in vocabulary.items():
            for alias in aliases:
                name = records.name_index(alias)
                bearers = records.name_entities[records.links_of(name)]
                assert records.entity_index(cid) in bearers
        for missing in ("", "C", "c1", "C99", " "):
            assert records.entity_index(missing) == -1
            assert records.name_index(missing) == -1


@pytest.mark.parametrize("text", ["cold", "COLD", "  Cold\n", "ｃｏｌｄ"])
def test_names_are_looked_up_in_their_normal_form(text):
    records = make_records(ENTITIES)
    name = records.name_index(text)
    assert records.names["key"][name].as_py() == "cold"
    bearers = records.name_entities[records.links_of(name)]
    assert bearers.tolist() == [0, 1]


def test_names_are_kept_as_the_first_concept_writes_them():
    names = make_records(ENTITIES, COUNTS).name_texts()
    assert sorted(names) == [
        "Cold",
        "Cold temperature",
        "Common cold",
        "Flu",
        "MI",
        "Mitral insufficiency",
        "Myocardial infarction",
        "acute rhinitis",
        "heart attack",
    ]


def test_concepts_of_the_corpus_alone_are_added_under_their_most_frequent_text():
    counts = {("flu", "C0"): 2, ("Influenza\n A", "C0"): 3, (" \n", "C8"): 9, ("grippe", "C0"): 2}
    records = make_records(ENTITIES, counts)
    assert records.entity(0) == Entity("C0", "Influenza A", ["Influenza A", "flu", "grippe"])
    assert records.entity_index("C8") == -1
    assert records.name_texts(records.name_index("influenza a"))[0] == "Influenza A"


def test_texts_of_the_corpus_become_names_but_not_aliases():
    records = make_records(ENTITIES, {("runny nose", "C1"): 2})
    assert links_of(records)["runny nose", "C1"] == 2
    assert "runny nose" not in records.entity(0).aliases


def test_the_same_concept_twice_is_refused():
    with pytest.raises(MetricELError) as error:
        make_records([*ENTITIES, Entity(" C3 ", "Infarct", [])])
    assert error.value.code == "E130"
    assert "'C3'" in str(error.value)


@pytest.mark.parametrize("counts", [None, {}, {(" ", "C1"): 2}])
def test_no_concept_at_all_is_refused(counts):
    with pytest.raises(MetricELError) as error:
        make_records([], counts)
    assert error.value.code == "E131"


def test_records_of_counts_alone():
    assert make_records([], {("flu", "C1"): 1}).entity(0).aliases == ["flu"]


def test_mapped_tables_equal_those_in_memory(tmp_path):
    records = make_records(ENTITIES, COUNTS)
    write_records(records, tmp_path)
    files = (ENTITIES_FILE, NAMES_FILE)
    mapped = open_records({f: pa.memory_map(str(tmp_path / f)).read_buffer() for f in files})
    assert mapped.entities.equals(records.entities)
    assert mapped.names.equals(records.names)
    arrays = ["name_offsets", "name_entities", "name_counts", "name_in_vocabulary"]
    arrays += ["entity_offsets", "entity_names", "entity_counts", "entity_in_vocabulary"]
    for array in arrays:
        assert getattr(mapped, array).tolist() == getattr(records, array).tolist()
        assert getattr(mapped, array).dtype == getattr(records, array).dtype
    assert mapped.entity_index("C3") == records.entity_index("C3") == 2


def buffers_of(records, folder):
    return {name: pa.py_buffer(content) for name, content in files_of(records, folder).items()}


@pytest.mark.parametrize("table", ["entities", "names"])
@pytest.mark.parametrize("change", ["less", "more", "other type"])
def test_tables_of_another_version_are_refused(tmp_path, table, change):
    records = make_records(ENTITIES, COUNTS)
    tables = {"entities": records.entities, "names": records.names}
    last, values = tables[table].column_names[-1], tables[table].columns[-1]
    changed = tables[table].drop_columns([last])
    if change != "less":
        name = last if change == "other type" else "new"
        changed = changed if change == "other type" else tables[table]
        changed = changed.append_column(name, pa.array([""] * len(values)))
    buffers = buffers_of(Records(**{**tables, table: changed}), tmp_path / "changed")
    with pytest.raises(pa.ArrowInvalid, match="another version"):
        open_records(buffers)
    assert open_records(buffers_of(records, tmp_path / "same")).names.equals(records.names)


@given(start=st.integers(0, 9), length=st.integers(0, 9))
def test_name_texts_of_a_stretch(start, length):
    records = make_records(ENTITIES, COUNTS)
    stretch = records.name_texts()[start : start + length]
    assert records.name_texts(start, min(start + length, records.n_names)) == stretch
