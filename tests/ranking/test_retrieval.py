"""From mentions to candidates: rows, cosines, and links with and without a ranker."""

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding.mentions import encode_mentions
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity
from spacy_metric_el.kb.index import faiss_index, row_vectors
from spacy_metric_el.kb.index.row_vectors import RowVectors, make_row_vectors
from spacy_metric_el.mentions import SpanRef
from spacy_metric_el.ranking import retrieval as search_module
from spacy_metric_el.ranking.candidates import OwnUsage
from spacy_metric_el.ranking.counts import count_pairs
from spacy_metric_el.ranking.labels import EntityLabels
from spacy_metric_el.ranking.prototypes import Prototypes
from spacy_metric_el.ranking.ranker import CandidateRanker
from spacy_metric_el.ranking.retrieval import (
    RANKED_CANDIDATES,
    channel_cosines,
    name_indices,
    retrieve,
    search_rows,
)

from ..namesakes import by_context, by_document, candidates, counted_kb, fitted, ready
from ..util import LINKER, VOCABULARY, links, make_doc, make_example, make_kb, make_nlp

DETECTOR = "scispacy_abbreviation_detector"
TEXT = "Spinal and bulbar muscular atrophy ( SBMA ) is rare . Severe SBMA and a fever"
SBMA, SEVERE_SBMA, FEVER = SpanRef(0, 12, 13), SpanRef(0, 11, 13), SpanRef(0, 15, 16)
COLDS = [Entity(f"X{i:02}", f"common cold {i}", [f"a cold {i}"]) for i in range(60)]
"""More concepts than a ranker is given, and than `search_rows` finds."""


@pytest.fixture(params=[True, False], ids=["name_context", "surface"])
def linker(request):
    return fresh_linker(name_context=request.param)


def fresh_linker(**model):
    """RETURNS (MetricEntityLinker): A linker that nothing was learned with; only names that differ much are in its vocabulary."""
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(model=model)
    nlp.add_pipe(DETECTOR, before=LINKER)
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    atrophy = Entity("C09", "spinal and bulbar muscular atrophy", ["Kennedy disease"])
    linker.set_kb(make_kb([*VOCABULARY, atrophy, Entity("C10", "SBMD", [])]))
    linker.refresh_vectors()
    linker.nlp = nlp
    return linker


def encode(linker, spans, text=TEXT):
    return encode_mentions(linker.encoder, [linker.nlp(text)], spans, [""] * len(spans))


def find(linker, encoded, **kwargs):
    """RETURNS (CandidateTable): What `retrieve` finds; settings are those of the linker, changed."""
    changes = {key: kwargs.pop(key) for key in ("search_rows", "prior_weight") if key in kwargs}
    settings = linker.settings.model_copy(update=changes)
    return retrieve(linker.kb.records, linker.vectors, encoded, settings, **kwargs)


# --- rows ---


@pytest.mark.parametrize("near", [1, 2, 4])
def test_rows_are_those_of_the_index_and_of_the_very_texts(linker, near):
    encoded = encode(linker, [FEVER, SBMA])
    records, vectors = linker.kb.records, linker.vectors
    hits = search_rows(records, vectors, encoded, 4, near=near)
    similarities, rows = vectors.search(encoded.vectors, 4, texts=encoded.texts, near=near)
    expected = []
    for query, text in enumerate(encoded.texts):
        own = records.name_index(text)
        if own >= 0:
            expected.append((query, own, 1.0, True, True))
        for place, (row, similarity) in enumerate(
            zip(rows[query], similarities[query], strict=True)
        ):
            if row not in (own, -1):
                expected.append((query, row, similarity, False, place < near))
    found = zip(
        hits.queries, hits.rows, hits.similarities, hits.is_exact, hits.is_near, strict=True
    )
    assert list(found) == expected
    # "SBMA" is no name, what it stands for is one.
    assert hits.queries[hits.is_exact].tolist() == [0, 1]
    assert hits.mentions.tolist() == encoded.owners[hits.queries].tolist()
    assert hits.is_long.tolist() == (hits.queries < 2).tolist()
    assert hits.is_written.tolist() == (hits.queries != 1).tolist()
    assert hits.names.tolist() == vectors.names[hits.rows].tolist()


def test_more_rows_than_there_are():
    linker = fresh_linker(name_context=True)
    n_rows = linker.vectors.n_rows
    encoded = encode(linker, [FEVER])
    hits = search_rows(linker.kb.records, linker.vectors, encoded, n_rows + 50, near=n_rows)
    assert sorted(hits.rows.tolist()) == list(range(n_rows))
    assert hits.is_near.all()


def test_a_text_without_a_row_of_its_own_has_no_exact_row(linker):
    encoded = encode(linker, [FEVER])
    vectors = linker.vectors
    # As in a knowledge base that was added to.
    others = np.flatnonzero(vectors.names != linker.kb.records.name_index("fever"))
    rows = vectors.decode(others)[:, vectors.n_empty :]
    fewer = make_row_vectors(rows, vectors.names[others], "", n_empty=vectors.n_empty)
    hits = search_rows(linker.kb.records, fewer, encoded, 4, near=4)
    assert not hits.is_exact.any()
    assert (hits.similarities < 1).all()
    assert linker.kb.records.name_index("fever") not in hits.names


def test_names_are_looked_up_in_their_normal_form(linker):
    records = linker.kb.records
    found = name_indices(records, ["Fever", "no name", "fever", " FEVER ", "MI"])
    fever, mi = records.name_index("fever"), records.name_index("MI")
    assert found.tolist() == [fever, -1, fever, fever, mi]
    assert len(name_indices(records, [])) == 0


@pytest.mark.parametrize("decoded", [1, 3, 8_192])
def test_channels_are_compared_one_by_one(linker, monkeypatch, decoded):
    monkeypatch.setattr(search_module, "DECODED", decoded)
    encoded = encode(linker, [FEVER, SBMA])
    found = find(linker, encoded, search_rows=6)
    cosines = channel_cosines(linker.vectors, encoded, found)
    assert cosines.shape == (len(found.rows), 2)
    width, rows = linker.encoder.context_width, linker.vectors.decode(found.rows)
    for (surface, context), query, b in zip(cosines, found.queries, rows, strict=True):
        a = encoded.vectors[query]
        for cosine, part in ((surface, slice(width, None)), (context, slice(0, width))):
            lengths = np.linalg.norm(a[part]) * np.linalg.norm(b[part])
            expected = a[part] @ b[part] / lengths if lengths else 0.0
            assert cosine == pytest.approx(
                max(expected, 0.0) if not context else expected, abs=1e-4
            )


def test_no_mentions_and_no_names(linker):
    found = find(linker, encode(linker, []))
    assert found.offsets.tolist() == [0]
    assert len(found.entities) == 0
    assert channel_cosines(linker.vectors, encode(linker, []), found).shape == (0, 2)
    assert linker.search_names([]) == []


def test_names_are_searched_as_mentions_without_a_document(linker):
    found = linker.search_names(["FEVER", "heart attacks"], top_k=3)
    assert [run[0][0] for run in found] == ["C08", "C01"]
    assert found[0][0][1] == 1.0
    assert [len(run) for run in found] == [3, 3]
    assert linker.search_names("FEVER", top_k=3) == found[:1]
    assert linker.search_names(["heart attacks"], top_k=3) == found[1:]


# --- links without a ranker ---


def naive_candidates(linker, vector, text, prior_weight):
    """RETURNS (dict): The score of each concept, from all names."""
    kb, best = linker.kb, {}
    names = kb.records.name_texts()
    rows = linker.vectors.decode(np.arange(len(names)))
    for name, row in zip(names, rows, strict=True):
        similarity = 1.0 if name.lower() == text.lower() else max(float(row @ vector), 0.0)
        for concept_id, prior in kb.lookup(name):
            score = round(similarity, 3) * prior**prior_weight
            best[concept_id] = max(best.get(concept_id, 0.0), score)
    return best


@pytest.mark.parametrize("prior_weight", [0.0, 0.01, 0.5])
def test_without_a_ranker_similarity_and_prior_decide(linker, prior_weight):
    linker.cfg["prior_weight"] = prior_weight
    docs, spans = [linker.nlp("a fever and MI")], [SpanRef(0, 1, 2), SpanRef(0, 3, 4)]
    encoded = encode_mentions(linker.encoder, docs, spans, ["", ""])
    n = len(linker.kb)
    everything = linker.predict_spans(docs, spans, top_k=n)
    for found, vector, text in zip(everything, encoded.vectors, ("fever", "MI"), strict=True):
        expected = naive_candidates(linker, vector, text, prior_weight)
        assert [type(pair) for pair in found] == [tuple] * n
        assert dict(found) == pytest.approx(expected, abs=2e-3)
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
    assert [pairs[0][0] for pairs in everything] == ["C08", "C01"]
    # They are similarities, and no probabilities.
    assert sum(score for _, score in everything[1]) > 1
    assert linker.predict_spans(docs, spans, top_k=3) == [pairs[:3] for pairs in everything]


def test_a_long_form_finds_what_the_short_form_does_not(linker):
    spans = [SBMA, SEVERE_SBMA, FEVER]
    alone, severe, fever = linker.predict_spans([linker.nlp(TEXT)], spans)
    assert [pairs[0][0] for pairs in (alone, severe, fever)] == ["C09", "C09", "C08"]
    with linker.nlp.select_pipes(disable=DETECTOR):
        found = linker.predict_spans([linker.nlp(TEXT)], spans)
    assert found[0][0][0] == "C10"
    assert dict(found[0])["C09"] < dict(alone)["C09"] - 0.3
    assert dict(found[1])["C09"] < dict(severe)["C09"] - 0.3
    assert found[2] == fever


# --- one search, with a ranker and without ---


def indifferent(kb, width):
    """RETURNS (CandidateRanker): One that was not fitted, and finds all candidates equally probable."""
    none = np.zeros(0, dtype=np.int64)
    prototypes = Prototypes(np.zeros((0, width), np.float32), none.astype(np.float32), none)
    labels = EntityLabels([], np.full(kb.records.n_entities, -1, dtype=np.int32))
    return CandidateRanker(kb.records, prototypes, labels)


@pytest.fixture
def searches(monkeypatch):
    """How many rows were asked for, at each search."""
    asked = []
    search = RowVectors.search

    def count(self, queries, k, **kwargs):
        asked.append(k)
        return search(self, queries, k, **kwargs)

    monkeypatch.setattr(RowVectors, "search", count)
    return asked


def many_colds(name_context):
    """RETURNS (tuple): A linker of many names that differ little, and what to link."""
    nlp, linker, examples = ready(by_document, search_rows=16, model={"name_context": name_context})
    linker.set_kb(counted_kb(examples, [*VOCABULARY, *COLDS]))
    linker.refresh_vectors()
    docs = [nlp.make_doc("a cold and a COMMON cold 7"), nlp.make_doc("a cold")]
    spans = [SpanRef(0, 1, 2), SpanRef(0, 4, 7), SpanRef(0, 3, 6), SpanRef(1, 0, 2)]
    return linker, docs, spans


@pytest.mark.parametrize("top_k", [5, 100])
@pytest.mark.parametrize("name_context", [True, False])
def test_a_ranker_is_given_the_candidates_that_there_are_without_one(
    monkeypatch, name_context, top_k
):
    linker, docs, spans = many_colds(name_context)
    found, given = [], []
    find_them, rank_them = search_module.retrieve, CandidateRanker.rank
    monkeypatch.setattr(
        search_module,
        "retrieve",
        lambda *args, **kwargs: found.append(find_them(*args, **kwargs)) or found[-1],
    )
    monkeypatch.setattr(
        CandidateRanker,
        "rank",
        lambda self, pairs, *args, **kwargs: (
            given.append(pairs) or rank_them(self, pairs, *args, **kwargs)
        ),
    )
    without = linker.predict_spans(docs, spans, top_k=top_k)
    assert not given
    linker.set_ranker(indifferent(linker.kb, linker.encoder.context_width))
    ranked = linker.predict_spans(docs, spans, top_k=top_k)
    (before, after), (pairs,) = found, given
    assert pairs is after
    for field in before._fields:
        np.testing.assert_array_equal(getattr(before, field), getattr(after, field), err_msg=field)
    # A ranker that prefers none leaves the order as it is.
    ids = [[[cid for cid, _ in run] for run in runs] for runs in (ranked, without)]
    assert ids[0] == ids[1]
    assert ranked != without


@pytest.mark.parametrize("has_ranker", [True, False])
@pytest.mark.parametrize("name_context", [True, False])
def test_many_candidates_come_of_one_search_and_stand_behind(searches, name_context, has_ranker):
    linker, docs, spans = many_colds(name_context)
    if has_ranker:
        linker.set_ranker(indifferent(linker.kb, linker.encoder.context_width))
    few = linker.predict_spans(docs, spans, top_k=5)
    assert searches == [16]
    assert [len(run) for run in few] == [5] * len(spans)
    for top_k in (20, 40, 100):
        searches.clear()
        many = linker.predict_spans(docs, spans, top_k=top_k)
        (asked,) = searches
        assert asked >= top_k
        assert [run[:5] for run in many] == few
        for run in many:
            scores = [score for _, score in run]
            assert scores == sorted(scores, reverse=True)
            assert len({cid for cid, _ in run}) == len(run)
    assert min(len(run) for run in many) > RANKED_CANDIDATES


@pytest.mark.parametrize("kind", ["exact", "refined", "postings"])
@pytest.mark.parametrize("name_context", [True, False])
def test_more_rows_change_no_evidence(monkeypatch, name_context, kind):
    # Where an index compares few rows closely, more are compared for more that are asked for.
    monkeypatch.setattr(faiss_index, "EXACT_ROWS", 2 if kind != "exact" else 10_000)
    monkeypatch.setattr(faiss_index, "SURFACE_ROWS", 2 if kind == "postings" else 10_000)
    monkeypatch.setattr(row_vectors, "COMPARED", 1)
    linker, docs, spans = many_colds(name_context)
    vectors = linker.vectors
    assert (vectors.postings is not None) == (kind == "postings" and not name_context)
    if kind == "refined":
        vectors.index.k_factor = 1.0
    encoded = encode_mentions(linker.encoder, docs, spans, [""] * len(spans))
    few, many = (find(linker, encoded, top_k=top_k) for top_k in (5, 100))
    assert few.is_near.all()
    assert len(many.entities) > len(few.entities)
    for i in range(len(spans)):
        own = slice(*few.offsets[i : i + 2])
        start = many.offsets[i]
        n = own.stop - own.start
        assert not many.is_near[start + n : many.offsets[i + 1]].any()
        for field in set(few._fields) - {"offsets"}:
            theirs = getattr(many, field)[start : start + n]
            # Sums of products may differ in their last digit.
            np.testing.assert_allclose(theirs, getattr(few, field)[own], atol=1e-6, err_msg=field)


# --- links with a ranker ---


def test_scores_with_a_ranker_are_probabilities(thorough):
    nlp, linker, examples = fitted(by_document)
    found = candidates(nlp, examples)
    assert len(found) == 24
    for pairs in found:
        scores = [score for _, score in pairs]
        assert len(pairs) == len({cid for cid, _ in pairs}) == 8
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert sum(scores) <= 1 + 1e-5
        assert [type(part) for part in pairs[0]] == [str, float]
    # What was seen in training is nearly certain.
    assert np.median([pairs[0][1] for pairs in found]) > 0.7
    linker.set_ranker(None)
    assert max(sum(score for _, score in pairs) for pairs in candidates(nlp, examples)) > 1


def test_the_threshold_is_one_of_probabilities(thorough):
    nlp, linker, _ = fitted(by_document)
    # "MI" alone says nothing of the document.
    for threshold, expected in ((0.7, {"NIL"}), (0.2, {"C01", "C02"})):
        linker.cfg["threshold"] = threshold
        doc = linker(make_doc(nlp, "a MI", ("MI", "")))
        assert doc.ents[0].kb_id_ in expected


@pytest.mark.parametrize("top_k", [1, 3, 50])
def test_as_many_candidates_as_there_are(thorough, top_k):
    nlp, linker, examples = ready(by_document, search_rows=16)
    linker.set_kb(counted_kb(examples, [*VOCABULARY, *COLDS]))
    linker.fit_ranker(nlp)
    assert top_k < RANKED_CANDIDATES or top_k == 50
    (found,) = linker.predict_spans([nlp.make_doc("a cold")], [(0, 1, 2)], top_k=top_k)
    assert len(found) == top_k
    assert found[0][0] in ("C03", "C04")
    # How many are asked for changes neither the order nor the probabilities.
    (few,) = linker.predict_spans([nlp.make_doc("a cold")], [(0, 1, 2)], top_k=2)
    assert found[:2] == few[:top_k]


def test_links_do_not_depend_on_the_batch(thorough):
    nlp, _, examples = fitted(by_document, top_k=3)
    docs = [eg.reference for eg in examples]
    docs += [nlp.make_doc(""), make_doc(nlp, "no companion of MI", ("MI", "")), nlp.make_doc("x")]
    alone = links([nlp(doc.copy()) for doc in docs])
    assert sum(len(found) for found in alone) == 25
    for batch_size in (2, 15):
        assert links(list(nlp.pipe([doc.copy() for doc in docs], batch_size=batch_size))) == alone


def test_labels_speak_where_they_may():
    def labelled(nlp):
        examples = by_document(nlp, [("cold", "C03", "fever"), ("cold", "C04", "fever")], repeats=9)
        for eg in examples:
            ents = [(ent.start_char, ent.end_char, ent.kb_id_) for ent in eg.reference.ents[:1]]
            eg.reference.ents = [
                eg.reference.char_span(start, end, label={"C03": "SICK"}.get(cid, "AIR"), kb_id=cid)
                for start, end, cid in ents
            ]
        return examples

    for use_labels in (True, False):
        nlp, linker, _ = fitted(labelled, use_labels=use_labels)
        docs = [nlp.make_doc("it is of cold and then") for _ in range(2)]
        found = linker.predict_spans(docs, [(0, 3, 4), (1, 3, 4)], labels=["SICK", "AIR"], top_k=2)
        assert ([pairs[0][0] for pairs in found] == ["C03", "C04"]) == use_labels
        # The labels of entities are passed on.
        for doc, label in zip(docs, ("SICK", "AIR"), strict=True):
            doc.ents = [doc.char_span(9, 13, label=label)]
        assert linker.predict(docs, top_k=2) == [[pairs] for pairs in found]
        # Without labels, both mentions are the same.
        first, second = linker.predict_spans(docs, [(0, 3, 4), (1, 3, 4)], top_k=2)
        assert first == second


def test_nothing_to_link_and_spans_without_tokens():
    nlp, linker, _ = fitted(by_context)
    docs = [nlp.make_doc("nothing"), nlp.make_doc("")]
    assert linker.predict_spans(docs, []) == []
    assert linker.predict(docs) == [[], []]
    with pytest.raises(MetricELError, match=r"^\[E009\] "):
        linker.predict_spans(docs, [(0, 1, 1)])


def test_mentions_of_the_same_texts_share_their_candidates(monkeypatch):
    linker = fresh_linker(name_context=False)
    doc = linker.nlp(f"{TEXT} . Fever , SBMA and fever")
    spans = [FEVER, SBMA, (0, 17, 18), (0, 19, 20), (0, 21, 22), (0, 15, 16)]
    encoded = encode_mentions(linker.encoder, [doc], spans, [""] * len(spans))
    assert linker.vectors.n_empty == linker.encoder.context_width
    settings = {"search_rows": 5, "top_k": 3, "prior_weight": 0.1}
    together = find(linker, encoded, **settings)
    for i in range(len(spans)):
        alone = encoded.take(np.asarray([i]))
        expected = find(linker, alone, **settings)
        run = slice(*together.offsets[i : i + 2])
        queries = together.queries[run]
        assert [encoded.texts[q] for q in queries] == [alone.texts[q] for q in expected.queries]
        for field in set(expected._fields) - {"offsets", "queries"}:
            theirs, mine = getattr(together, field)[run], getattr(expected, field)
            np.testing.assert_array_equal(theirs, mine, err_msg=field)
    asked = []
    collect = search_module.collect_candidates
    monkeypatch.setattr(
        search_module,
        "collect_candidates",
        lambda hits, records, n, **kwargs: asked.append(n) or collect(hits, records, n, **kwargs),
    )
    find(linker, encoded, **settings)
    assert asked == [3]


def test_training_mentions_do_not_share_what_their_documents_gave():
    linker = fresh_linker(name_context=False)
    kb = counted_kb([make_example(linker.nlp, "a fever", ("fever", "C08"))])
    linker.set_kb(kb)
    linker.refresh_vectors()
    vectors = linker.vectors
    assert vectors.n_empty == linker.encoder.context_width
    docs = [linker.nlp("a fever"), linker.nlp("a fever")]
    encoded = encode_mentions(linker.encoder, docs, [(0, 1, 2), (1, 1, 2)], ["", ""])
    n_links, n_entities = len(kb.records.name_entities), kb.records.n_entities
    # The first document gave the knowledge base all that it has of every link.
    links, counts = np.arange(n_links), kb.records.name_counts
    documents = np.zeros(counts.sum(), dtype=np.int64)
    own = OwnUsage(
        encoded.table.documents,
        count_pairs(documents, np.repeat(links, counts), n_links),
        count_pairs(documents[:0], links[:0], n_entities),
    )
    found = find(linker, encoded, search_rows=5, prior_weight=0.1, top_k=1, own=own)
    hits = search_rows(kb.records, vectors, encoded, 5, near=5)
    expected = search_module.collect_candidates(
        hits, kb.records, 2, limit=RANKED_CANDIDATES, prior_weight=0.1, own=own
    )
    for field in found._fields:
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    first, second = (found.link_counts[slice(*found.offsets[i : i + 2])] for i in (0, 1))
    assert not first.any()
    assert second.any()


@pytest.mark.parametrize("kind", ["exact", "refined", "postings"])
def test_a_name_of_several_concepts_links_to_one_of_them(monkeypatch, kind):
    """Its concepts share its prior; a name that is nearly the same belongs to another one alone."""
    monkeypatch.setattr(faiss_index, "EXACT_ROWS", 2 if kind != "exact" else 10_000)
    monkeypatch.setattr(faiss_index, "SURFACE_ROWS", 2 if kind == "postings" else 10_000)
    name = "familial paroxysmal nocturnal hemoglobinuria of late onset"
    entities = [Entity(f"D{i}", f"form {i}", [name]) for i in range(4)]
    rivals = [
        f"{name} 1",
        f"{name} (2)",
        "hemoglobinuria, nocturnal, familial paroxysmal, of late onset",
    ]
    entities += [Entity(f"R{i}", rival, []) for i, rival in enumerate(rivals)]
    entities += [Entity(f"X{i}", f"another disease {i}", []) for i in range(200)]
    linker = fresh_linker(name_context=False)
    linker.set_kb(make_kb(entities))
    found = linker.search_names([name, *rivals], top_k=3)
    assert found[0][0][0] in {"D0", "D1", "D2", "D3"}
    assert [pairs[0][0] for pairs in found[1:]] == ["R0", "R1", "R2"]
