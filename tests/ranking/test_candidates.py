from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.kb.records import PREFERENCE, VOCABULARY_MASS
from spacy_metric_el.ranking.candidates import (
    DECIMALS,
    NEAR_EQUAL,
    WRITTEN_SHARE,
    CandidateTable,
    OwnUsage,
    collect_candidates,
    join_candidates,
    sort_runs,
)
from spacy_metric_el.ranking.counts import PairCounts, count_pairs

from ..kb.vocabulary import COUNTS, ENTITIES, entities_of, mention_counts, vocabularies
from ..util import make_records
from .corpus import make_hits

N_MENTIONS = 3
N_DOCUMENTS = 2
SIMILARITIES = [-0.5, 0.0, 0.25, 0.5, 0.7004, 0.7, 0.97, 0.985, 0.996, 0.9961, 1.0, 1.0000001]


@st.composite
def searches(draw):
    """Records, and rows found for mentions in any order, as tuples of `Hits`."""
    records = make_records(entities_of(draw(vocabularies)), draw(mention_counts))
    names = st.integers(0, records.n_names - 1)
    found = []
    for mention in range(N_MENTIONS):
        forms = draw(st.sampled_from([[(True, True)], [(False, True), (True, False)]]))
        for i, form in enumerate(forms):
            exact = draw(st.none() | names)
            for name in draw(st.lists(names, max_size=4, unique=True)):
                similarity = draw(st.sampled_from(SIMILARITIES))
                row, query, is_near = 50 + name, 10 * i + mention, draw(st.booleans())
                found.append((mention, query, row, name, similarity, *form, name == exact, is_near))
    return records, draw(st.permutations(found))


def pair_counts(counts, n_second):
    """RETURNS (PairCounts): Of a dictionary of pairs."""
    pairs = [pair for pair, n in counts.items() for _ in range(n)]
    return count_pairs(*np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T, n_second)


def naive_masses(records, links):
    """What each link weighs once a document's own counts are gone, and what is left of these."""
    left = [
        max(int(records.name_counts[link]) - links.get(link, 0), 0)
        for link in range(len(records.name_entities))
    ]
    masses = [
        n
        + VOCABULARY_MASS * records.name_in_vocabulary[link]
        + VOCABULARY_MASS * PREFERENCE * records.name_is_preferred[link]
        for link, n in enumerate(left)
    ]
    return left, masses


def naive_links(found, records, prior_weight, masses_of):
    """RETURNS (list[dict]): What is known of each link of each row that was found."""
    links = []
    for mention, query, row, name, similarity, is_written, is_long, is_exact, is_near in found:
        left, masses = masses_of(mention)
        behind = range(records.name_offsets[name], records.name_offsets[name + 1])
        total = sum(masses[link] for link in behind)
        similarity = np.clip(np.float32(similarity), 0, 1)
        share = np.float32(1 if is_long else WRITTEN_SHARE)
        for link in behind:
            if masses[link] > 0:
                log_prior = np.log(np.asarray([masses[link] / total])).astype(np.float32)
                prior = np.exp(np.float32(prior_weight) * log_prior)[0]
                links.append(
                    {
                        "mention": mention,
                        "entity": int(records.name_entities[link]),
                        "queries": query,
                        "rows": row,
                        "names": name,
                        "base": np.round(similarity, DECIMALS) * share * prior,
                        "similarities": similarity,
                        "is_exact": is_exact,
                        "written": is_written * is_near * similarity,
                        "long": is_long * is_near * similarity,
                        "log_priors": log_prior[0],
                        "link_counts": left[link],
                        "is_preferred": records.name_is_preferred[link],
                        "is_near": is_near,
                    }
                )
    return links


def lower_rivals(links):
    """Put names that are nearly a query's text just behind the best that is the text."""
    best = {}
    for link in links:
        if link["is_exact"]:
            query = link["queries"]
            best[query] = max(best.get(query, link["base"]), link["base"])
    for link in links:
        is_rival = not link["is_exact"] and link["similarities"] >= NEAR_EQUAL
        if is_rival and link["queries"] in best:
            below = np.nextafter(best[link["queries"]], np.float32(0))
            link["base"] = min(link["base"], below)


def rank_of(link):
    """RETURNS (tuple): What decides, the best first: near, score, exact, canonical, concept id."""
    decides = ("is_near", "base", "is_exact", "is_preferred")
    return tuple(-float(link[key]) for key in decides)


def naive_candidates(found, records, prior_weight, masses_of, limit):
    """RETURNS (list[dict]): For each mention the candidates, best first, and what is known of each."""
    links = naive_links(found, records, prior_weight, masses_of)
    lower_rivals(links)
    runs = []
    for mention in range(N_MENTIONS):
        mine = [link for link in links if link["mention"] == mention]
        names = {
            form: {hit[3] for hit in found if hit[0] == mention and hit[place] and hit[7]}
            for form, place in (("is_written", 5), ("is_long", 6))
        }
        pairs = []
        for entity in {link["entity"] for link in mine}:
            own = [link for link in mine if link["entity"] == entity]
            pair = dict(min(own, key=rank_of))
            pair["n_rows"] = sum(link["is_near"] for link in own)
            for form in ("written", "long"):
                pair[form] = max(link[form] for link in own)
                pair[f"is_{form}"] = pair["names"] in names[f"is_{form}"]
            pairs.append(pair)
        pairs = sorted(pairs, key=lambda pair: (*rank_of(pair), pair["entity"]))[:limit]
        lowest = min((pair["base"] for pair in pairs if pair["is_near"]), default=np.inf)
        for pair in pairs:
            if not pair["is_near"]:
                pair["base"] = min(pair["base"], lowest)
        runs.append({pair["entity"]: pair for pair in pairs})
    return runs


def runs_of(candidates):
    """RETURNS (list[dict]): The same of candidates, in their order."""
    fields = [f for f in CandidateTable._fields if f not in ("offsets", "entities")]
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


def check_equal(found, expected):
    for run, naive in zip(found, expected, strict=True):
        assert list(run) == list(naive)
        for entity, pair in run.items():
            assert pair == {key: pytest.approx(float(naive[entity][key]), abs=1e-6) for key in pair}
        bases = [pair["base"] for pair in run.values()]
        assert bases == sorted(bases, reverse=True)


@given(searches(), st.sampled_from([0.0, 0.3]), st.integers(1, 5))
def test_candidates_equal_a_loop(search, prior_weight, limit):
    records, found = search
    candidates = collect_candidates(
        make_hits(found), records, N_MENTIONS, limit=limit, prior_weight=prior_weight
    )
    masses = naive_masses(records, {})
    expected = naive_candidates(found, records, prior_weight, lambda mention: masses, limit)
    check_equal(runs_of(candidates), expected)
    owners = [i for i, run in enumerate(runs_of(candidates)) for _ in run]
    assert candidates.mentions.tolist() == owners
    assert candidates.places.tolist() == [i for run in expected for i in range(len(run))]


@given(searches(), st.data())
def test_candidates_without_the_own_document_equal_a_loop(search, data):
    records, found = search
    document = st.integers(0, N_DOCUMENTS - 1)
    link = st.integers(0, len(records.name_entities) - 1)
    links = data.draw(st.dictionaries(st.tuples(document, link), st.integers(1, 9), max_size=8))
    documents = data.draw(st.lists(document, min_size=N_MENTIONS, max_size=N_MENTIONS))
    own = OwnUsage(
        np.asarray(documents),
        pair_counts(links, len(records.name_entities)),
        pair_counts({}, records.n_entities),
    )
    candidates = collect_candidates(
        make_hits(found), records, N_MENTIONS, limit=9, prior_weight=0.3, own=own
    )

    def masses_of(mention):
        mine = documents[mention]
        return naive_masses(records, {link: n for (doc, link), n in links.items() if doc == mine})

    check_equal(runs_of(candidates), naive_candidates(found, records, 0.3, masses_of, 9))


def named_hits(records, *names):
    """RETURNS (Hits): The row of each name, for a mention of its own."""
    found = [records.name_index(name) for name in names]
    assert min(found) >= 0
    flags = True, True, False, True
    return make_hits([(i, i, name, name, 0.9, *flags) for i, name in enumerate(found)])


def ids_of(candidates, records):
    return [[records.concept_id(entity) for entity in run] for run in runs_of(candidates)]


def own_usage(records, used):
    """RETURNS (OwnUsage): Mention i is of document i, which used the i-th text and concept."""
    links, entities = {}, {}
    for document, (text, concept_id) in enumerate(used):
        name, entity = records.name_index(text), records.entity_index(concept_id)
        own = records.links_of(name)
        links[document, own.start + records.name_entities[own].tolist().index(entity)] = 1
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
def test_sorting_runs_equals_sorting_each_one(search, limit, data):
    records, found = search
    pairs = collect_candidates(make_hits(found), records, N_MENTIONS, limit=9, prior_weight=0.3)
    n = len(pairs.entities)
    scores = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n))
    kept = pairs.take(sort_runs(pairs, np.asarray(scores, dtype=np.float32), limit))
    remaining = iter(scores)
    for run, found_run in zip(runs_of(pairs), runs_of(kept), strict=True):
        score_of = dict(zip(run, islice(remaining, len(run)), strict=True))
        # Equals stay in the order that they are in.
        ranked = sorted(run, key=score_of.__getitem__, reverse=True)
        assert list(found_run) == ranked[:limit]
        assert all(run[entity] == pair for entity, pair in found_run.items())


@given(searches(), st.integers(0, N_MENTIONS))
def test_joined_candidates_are_those_of_the_parts(search, cut):
    records, found = search
    settings = {"limit": 9, "prior_weight": 0.3}
    whole = collect_candidates(make_hits(found), records, N_MENTIONS, **settings)
    first = make_hits([hit for hit in found if hit[0] < cut])
    second = make_hits([(hit[0] - cut, *hit[1:]) for hit in found if hit[0] >= cut])
    parts = [
        collect_candidates(first, records, cut, **settings),
        collect_candidates(second, records, N_MENTIONS - cut, **settings),
    ]
    for joined, expected in zip(join_candidates(parts), whole, strict=True):
        assert joined.tolist() == expected.tolist()


# --- the order ---

NAMESAKES = [
    ("C1", "lung cancer", ["cancer lung"]),
    ("C2", "cancer of lung", ["lung cancer"]),
    ("C3", "lung cancer s", []),
    ("C4", "other", ["lung cancers"]),
]


@pytest.fixture(scope="module")
def namesakes():
    return make_records(Entity(cid, name, aliases) for cid, name, aliases in NAMESAKES)


def order_of(records, rows, *, prior_weight=0.0, limit=9, exact=None):
    """RETURNS (list[str]): Concept ids for one mention, of rows of (name, similarity[, is_near])."""
    found = []
    for text, similarity, *is_near in rows:
        name = records.name_index(text)
        flags = True, True, text == exact, *(is_near or [True])
        found.append((0, 0, name, name, similarity, *flags))
    pairs = collect_candidates(make_hits(found), records, 1, limit=limit, prior_weight=prior_weight)
    (ids,) = ids_of(pairs, records)
    return ids


def test_the_exact_text_wins_among_near_equal_similarities(namesakes):
    rows = [("lung cancer s", 1.0), ("lung cancers", 0.999), ("lung cancer", 1.0)]
    # Of the two that bear the text, it is the canonical name of the first.
    assert order_of(namesakes, rows, exact="lung cancer", prior_weight=0.0)[:2] == ["C1", "C2"]
    assert order_of(namesakes, rows, exact="lung cancers")[0] == "C4"
    assert order_of(namesakes, rows, exact="lung cancer s")[0] == "C3"
    # A prior cannot put the text behind what only looks like it.
    assert order_of(namesakes, rows, exact="lung cancer", prior_weight=1.0)[0] == "C1"


def test_a_text_that_is_no_name_wins_nothing(namesakes):
    rows = [("lung cancer s", 0.99), ("lung cancers", 0.999)]
    assert order_of(namesakes, rows) == ["C4", "C3"]


def test_less_similar_names_are_ranked_by_similarity_and_prior(namesakes):
    rows = [("lung cancer", 1.0), ("lung cancers", 0.97)]
    assert order_of(namesakes, rows, exact="lung cancer", prior_weight=0.0) == ["C1", "C2", "C4"]
    # The text is the second's name in one of three cases.
    ranked = order_of(namesakes, rows, exact="lung cancer", prior_weight=0.04)
    assert ranked == ["C1", "C4", "C2"]
    ranked = order_of(namesakes, rows, exact="lung cancer", prior_weight=0.1)
    assert ranked == ["C4", "C1", "C2"]


def test_of_equals_canonical_names_come_first_and_then_the_first_concept_id(namesakes):
    rows = [("lung cancers", 0.8), ("lung cancer s", 0.8), ("cancer of lung", 0.8)]
    assert order_of(namesakes, rows) == ["C2", "C3", "C4"]
    rows += [("cancer lung", 0.8)]
    assert order_of(namesakes, rows) == ["C2", "C3", "C1", "C4"]


@given(st.permutations(range(4)), st.integers(1, 4))
def test_the_order_is_not_that_of_the_rows(order, limit):
    records = make_records(Entity(cid, name, aliases) for cid, name, aliases in NAMESAKES)
    rows = [("lung cancer", 1.0), ("lung cancers", 1.0), ("lung cancer s", 1.0), ("other", 0.3)]
    found = order_of(records, [rows[i] for i in order], exact="lung cancer", limit=limit)
    assert found == ["C1", "C2", "C3", "C4"][:limit]


def test_noise_of_the_index_does_not_decide(namesakes):
    rows = [("lung cancers", 0.8004), ("lung cancer s", 0.7996)]
    assert order_of(namesakes, rows) == ["C3", "C4"]
    rows = [("lung cancers", 0.802), ("lung cancer s", 0.8)]
    assert order_of(namesakes, rows) == ["C4", "C3"]


def test_rows_that_are_not_near_stand_behind_whatever_their_scores(namesakes):
    rows = [("cancer lung", 0.2, True), ("lung cancer s", 0.9, False), ("other", 0.1, False)]
    assert order_of(namesakes, rows) == ["C1", "C3", "C4"]
    assert order_of(namesakes, rows, limit=1) == ["C1"]


def test_the_text_as_written_counts_less_than_the_long_form(namesakes):
    written, long = (namesakes.name_index(name) for name in ("lung cancers", "lung cancer s"))
    for similarity, expected in ((0.95, ["C3", "C4"]), (0.8, ["C4", "C3"])):
        hits = make_hits(
            [
                (0, 0, long, long, similarity, False, True, False, True),
                (0, 1, written, written, 1.0, True, False, True, True),
            ]
        )
        pairs = collect_candidates(hits, namesakes, 1, limit=9, prior_weight=0.0)
        assert ids_of(pairs, namesakes) == [expected]
        place = expected.index("C4")
        assert pairs.is_written[place]
        assert not pairs.is_long.any()
        assert pairs.base[place] == pytest.approx(WRITTEN_SHARE)
        # What is known of a pair are the similarities themselves.
        assert pairs.similarities[place] == 1.0
