import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.ranking import ENTITY_ROW, NAME_ROW
from spacy_metric_el.kb.records import PREFERENCE
from spacy_metric_el.ranking.candidates import (
    VOCABULARY_MASS,
    Candidates,
    Hits,
    OwnUsage,
    best_first,
    collect_candidates,
)
from spacy_metric_el.ranking.counts import PairCounts, count_pairs

from ..kb.vocabulary import COUNTS, ENTITIES, entities_of, mention_counts, vocabularies
from ..util import make_records

N_MENTIONS = 3
N_DOCUMENTS = 2


@st.composite
def searches(draw):
    """Records, and rows found for mentions in any order, as tuples of `Hits`."""
    records = make_records(entities_of(draw(vocabularies)), draw(mention_counts))
    named = st.tuples(st.just(NAME_ROW), st.integers(0, records.n_names - 1))
    whole = st.tuples(st.just(ENTITY_ROW), st.integers(0, records.n_entities - 1))
    hit = st.tuples(
        st.integers(0, N_MENTIONS - 1),
        st.integers(0, 9),
        st.integers(0, 99),
        named | named | whole,
        st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, 1.0000001]),
        st.booleans(),
        st.booleans(),
    )
    return records, [(*h[:3], *h[3], *h[4:]) for h in draw(st.lists(hit, max_size=10))]


def make_hits(found):
    columns = zip(*found, strict=True) if found else [()] * len(Hits._fields)
    dtypes = np.int64, np.int64, np.int64, np.uint8, np.int64, np.float32, bool, bool
    return Hits(*(np.asarray(c, dtype=dtype) for c, dtype in zip(columns, dtypes, strict=True)))


def pair_counts(counts, n_second):
    """RETURNS (PairCounts): Of a dictionary of pairs."""
    pairs = [pair for pair, n in counts.items() for _ in range(n)]
    return count_pairs(*np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T, n_second)


def naive_masses(records, links, entities):
    """What each link and each entity weighs once a document's own counts are gone."""
    left = {
        link: max(int(records.name_counts[link]) - links.get(link, 0), 0)
        for link in range(len(records.name_entities))
    }
    masses = {
        link: n
        + VOCABULARY_MASS * records.name_in_vocabulary[link]
        + VOCABULARY_MASS * PREFERENCE * records.name_is_preferred[link]
        for link, n in left.items()
    }
    exists = {
        entity: records.entity_in_vocabulary[entity]
        or records.entity_counts[entity] > entities.get(entity, 0)
        for entity in range(records.n_entities)
    }
    return left, masses, exists


def naive_candidates(found, records, prior_weight, masses_of):
    """RETURNS (list[dict]): For each mention, what is known of each candidate."""
    runs = [{} for _ in range(N_MENTIONS)]
    for mention, query, row, kind, ref, similarity, is_written, is_long in found:
        left, masses, exists = masses_of(mention)
        if kind == NAME_ROW:
            links = range(records.name_offsets[ref], records.name_offsets[ref + 1])
            total = sum(masses[link] for link in links)
            behind = [
                (
                    records.name_entities[link],
                    masses[link] / total,
                    left[link],
                    ref,
                    records.name_is_preferred[link],
                )
                for link in links
                if masses[link] > 0
            ]
        else:
            behind = [(ref, 1.0, 0, -1, False)] if exists[ref] else []
        similarity = min(max(similarity, 0.0), 1.0)
        for entity, share, count, name, is_preferred in behind:
            base = similarity * math.exp(prior_weight * math.log(share))
            pair = runs[mention].setdefault(
                int(entity), {"base": -1.0, "written": 0.0, "long": 0.0, "n_rows": 0}
            )
            pair["n_rows"] += 1
            pair["written"] = max(pair["written"], similarity * is_written)
            pair["long"] = max(pair["long"], similarity * is_long)
            if base > pair["base"] + 1e-9:
                pair |= {"base": base, "similarities": similarity, "names": name, "rows": row}
                pair |= {"queries": query, "log_priors": math.log(share), "link_counts": count}
                pair |= {"is_preferred": float(is_preferred)}
    return runs


def runs_of(candidates):
    """RETURNS (list[dict]): The same of candidates, in their order."""
    fields = [f for f in Candidates._fields if f not in ("offsets", "entities")]
    runs = []
    for start, end in pairwise(candidates.offsets):
        runs.append(
            {
                int(candidates.entities[i]): {f: float(getattr(candidates, f)[i]) for f in fields}
                for i in range(start, end)
            }
        )
        assert len(runs[-1]) == end - start
    return runs


def check_order(run):
    ranks = [(-pair["base"], entity) for entity, pair in run.items()]
    assert ranks == sorted(ranks)


def check_equal(found, expected, limit):
    for run, naive in zip(found, expected, strict=True):
        check_order(run)
        for entity, pair in run.items():
            assert pair == pytest.approx(naive[entity], abs=1e-6)
        bases = sorted((pair["base"] for pair in naive.values()), reverse=True)
        assert [pair["base"] for pair in run.values()] == pytest.approx(bases[:limit], abs=1e-6)


@given(searches(), st.sampled_from([0.0, 0.3]), st.integers(1, 5))
def test_candidates_equal_a_loop(search, prior_weight, limit):
    records, found = search
    hits = make_hits(found)
    candidates = collect_candidates(
        hits, records, N_MENTIONS, limit=limit, prior_weight=prior_weight
    )
    masses = naive_masses(records, {}, {})
    expected = naive_candidates(found, records, prior_weight, lambda mention: masses)
    check_equal(runs_of(candidates), expected, limit)
    owners = [i for i, run in enumerate(runs_of(candidates)) for _ in run]
    assert candidates.mentions.tolist() == owners


@given(searches(), st.data())
def test_candidates_without_the_own_document_equal_a_loop(search, data):
    records, found = search
    document = st.integers(0, N_DOCUMENTS - 1)
    count = st.integers(1, 9)
    link = st.integers(0, len(records.name_entities) - 1)
    entity = st.integers(0, records.n_entities - 1)
    links = data.draw(st.dictionaries(st.tuples(document, link), count, max_size=8))
    entities = data.draw(st.dictionaries(st.tuples(document, entity), count, max_size=8))
    documents = data.draw(st.lists(document, min_size=N_MENTIONS, max_size=N_MENTIONS))
    own = OwnUsage(
        np.asarray(documents),
        pair_counts(links, len(records.name_entities)),
        pair_counts(entities, records.n_entities),
    )
    candidates = collect_candidates(
        make_hits(found), records, N_MENTIONS, limit=9, prior_weight=0.3, own=own
    )

    def masses_of(mention):
        mine = documents[mention]
        return naive_masses(
            records,
            {link: n for (doc, link), n in links.items() if doc == mine},
            {entity: n for (doc, entity), n in entities.items() if doc == mine},
        )

    check_equal(runs_of(candidates), naive_candidates(found, records, 0.3, masses_of), 9)


def named_hits(records, *names):
    """RETURNS (Hits): The row of each name, for a mention of its own."""
    refs = [records.name_index(name) for name in names]
    assert min(refs) >= 0
    found = [(i, i, ref, NAME_ROW, ref, 0.9, True, True) for i, ref in enumerate(refs)]
    return make_hits(found)


def ids_of(candidates, records):
    return [[records.concept_id(entity) for entity in run] for run in runs_of(candidates)]


def own_usage(records, used):
    """RETURNS (OwnUsage): Mention i is of document i, which used the i-th text and concept."""
    links, entities = {}, {}
    for document, (text, concept_id) in enumerate(used):
        name, entity = records.name_index(text), records.entity_index(concept_id)
        bearers = records.name_entities[slice(*records.name_offsets[name : name + 2])]
        links[document, int(records.name_offsets[name] + bearers.tolist().index(entity))] = 1
        entities[document, entity] = 1
    return OwnUsage(
        np.arange(len(used)),
        pair_counts(links, len(records.name_entities)),
        pair_counts(entities, records.n_entities),
    )


def test_frequent_meanings_of_a_name_come_first():
    records = make_records(ENTITIES, COUNTS)
    hits = named_hits(records, "cold", "MI")
    found = collect_candidates(hits, records, 3, limit=9, prior_weight=1.0)
    assert ids_of(found, records) == [["C1", "C2"], ["C3", "C4"], []]
    expected = np.log([5.5 / 7, 1.5 / 7, 0.5, 0.5])
    assert found.log_priors.tolist() == pytest.approx(expected.tolist())
    assert found.link_counts.tolist() == [5.0, 1.0, 0.0, 0.0]


def test_what_only_the_own_document_says_is_no_evidence():
    counts = {("runny nose", "C1"): 1, ("flu", "C5"): 1, ("grippe", "C6"): 2, ("cold", "C5"): 1}
    used = [("runny nose", "C1"), ("flu", "C5"), ("grippe", "C6"), ("cold", "C5")]
    records = make_records(ENTITIES, counts)
    hits = named_hits(records, *(text for text, _ in used))
    together = collect_candidates(hits, records, 4, limit=9, prior_weight=1.0)
    assert ids_of(together, records) == [["C1"], ["C5"], ["C6"], ["C5", "C1", "C2"]]
    apart = collect_candidates(
        hits, records, 4, limit=9, prior_weight=1.0, own=own_usage(records, used)
    )
    assert ids_of(apart, records) == [[], [], ["C6"], ["C1", "C2"]]
    # What is left shares the whole of the name.
    assert np.exp(apart.log_priors).tolist() == pytest.approx([1.0, 0.5, 0.5])


def test_a_concept_of_the_own_document_alone_is_no_candidate():
    used = [("flu", "C5"), ("cold", "C1")]
    records = make_records(ENTITIES, dict.fromkeys(used, 1))
    refs = [records.entity_index(cid) for _, cid in used]
    hits = make_hits(
        [(i, i, 50 + i, ENTITY_ROW, ref, 0.9, True, True) for i, ref in enumerate(refs)]
    )
    own = own_usage(records, used)
    for usage, expected in ((None, [["C5"], ["C1"]]), (own, [[], ["C1"]])):
        found = collect_candidates(hits, records, 2, limit=9, prior_weight=0.0, own=usage)
        assert ids_of(found, records) == expected
        assert (found.names == -1).all()


def test_no_mentions_and_no_rows():
    records = make_records(ENTITIES)
    for n in (0, 2):
        found = collect_candidates(make_hits([]), records, n, limit=9, prior_weight=0.1)
        assert found.offsets.tolist() == [0] * (n + 1)
        assert all(len(column) == 0 for column in found[1:])
        assert found.mentions.tolist() == []


def test_links_of_other_documents_are_left():
    records = make_records(ENTITIES, {("cold", "C1"): 3})
    own = OwnUsage(
        np.asarray([7]),
        PairCounts(np.zeros(0, np.int64), np.zeros(0, np.float32), len(records.name_entities)),
        PairCounts(np.zeros(0, np.int64), np.zeros(0, np.float32), records.n_entities),
    )
    hits = named_hits(records, "cold")
    found = collect_candidates(hits, records, 1, limit=9, prior_weight=0.1, own=own)
    without = collect_candidates(hits, records, 1, limit=9, prior_weight=0.1)
    assert runs_of(found) == runs_of(without)


@given(searches(), st.integers(1, 3), st.data())
def test_best_first_equals_sorting_each_run(search, limit, data):
    records, found = search
    pairs = collect_candidates(make_hits(found), records, N_MENTIONS, limit=9, prior_weight=0.3)
    score = st.sampled_from([0.0, 0.5, 1.0])
    n = len(pairs.entities)
    scores = data.draw(st.lists(score, min_size=n, max_size=n))
    kept = best_first(pairs, np.asarray(scores, dtype=np.float32), limit)
    rest = iter(scores)
    for run, found_run in zip(runs_of(pairs), runs_of(kept), strict=True):
        ranks = sorted((-next(rest), entity) for entity in run)
        assert list(found_run) == [entity for _, entity in ranks[:limit]]
        assert all(run[entity] == pair for entity, pair in found_run.items())
