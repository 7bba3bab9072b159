"""From mentions to candidates: queries, rows, cosines, and links with and without a ranker."""

import numpy as np
import pytest
import spacy

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity
from spacy_metric_el.model.encoder import encoder_input
from spacy_metric_el.ranking import retrieval as search_module
from spacy_metric_el.ranking.candidates import OwnUsage
from spacy_metric_el.ranking.counts import count_pairs
from spacy_metric_el.ranking.retrieval import (
    RANKED_CANDIDATES,
    add_behind,
    channel_cosines,
    encode_mentions,
    find_candidates,
    find_rows,
    link_spans,
    take_mentions,
)

from ..namesakes import by_context, by_document, candidates, counted_kb, fitted, ready
from ..util import LINKER, VOCABULARY, links, make_doc, make_example, make_kb, make_nlp

DETECTOR = "scispacy_abbreviation_detector"
TEXT = "Spinal and bulbar muscular atrophy ( SBMA ) is rare . Severe SBMA and a fever"
SBMA, SEVERE_SBMA, FEVER = (0, 12, 13), (0, 11, 13), (0, 15, 16)


@pytest.fixture
def linker():
    return fresh_linker()


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


def encode(linker, spans, text=TEXT, **kwargs):
    doc = linker.nlp(text)
    return encode_mentions(linker, [doc], spans, [""] * len(spans), **kwargs)


# --- queries ---


def test_a_mention_with_a_long_form_asks_twice(linker):
    encoded = encode(linker, [FEVER, SBMA, SEVERE_SBMA])
    assert encoded.table.texts.written == ["fever", "SBMA", "Severe SBMA"]
    long = "Spinal and bulbar muscular atrophy"
    assert encoded.table.texts.long == ["fever", long, f"Severe {long}"]
    assert encoded.owners.tolist() == [0, 1, 2, 1, 2]
    assert encoded.is_long.tolist() == [True, True, True, False, False]
    assert encoded.is_written.tolist() == [True, False, False, True, True]


def test_queries_are_of_their_texts_in_the_same_context(linker):
    doc = linker.nlp(TEXT)
    encoded = encode_mentions(linker, [doc], [FEVER, SBMA], ["", ""])
    X = encoder_input([doc], [FEVER, SBMA, SBMA])
    long = "Spinal and bulbar muscular atrophy"
    expected = linker.encode(X._replace(texts=["fever", long, "SBMA"]))
    assert encoded.vectors == pytest.approx(expected, abs=1e-6)
    assert encoded.vectors[[0, 2]] == pytest.approx(linker.encode_spans([doc], [FEVER, SBMA]))
    assert np.abs(encoded.vectors[1] - encoded.vectors[2]).max() > 0.1


def test_the_table_has_unit_contexts_labels_and_numbers_of_documents(linker):
    docs = [linker.nlp("a fever"), linker.nlp("fever and aspirin")]
    spans = [(0, 1, 2), (1, 0, 1), (1, 2, 3)]
    table = encode_mentions(linker, docs, spans, ["A", "", "B"], first_document=7).table
    assert table.documents.tolist() == [7, 8, 8]
    assert table.texts.labels == ["A", "", "B"]
    assert table.context.shape == (3, linker.context_width)
    assert np.linalg.norm(table.context, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


# --- rows ---


def test_rows_are_those_of_the_index(linker):
    encoded = encode(linker, [FEVER, SBMA])
    hits = find_rows(linker.kb, encoded, 4)
    similarities, rows = linker.kb.search_rows(encoded.vectors, 4)
    assert hits.rows.tolist() == rows.ravel().tolist()
    assert hits.similarities.tolist() == similarities.ravel().tolist()
    assert hits.queries.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert hits.mentions.tolist() == [0] * 4 + [1] * 8
    assert hits.is_long.tolist() == [True] * 8 + [False] * 4
    assert hits.is_written.tolist() == [True] * 4 + [False] * 4 + [True] * 4
    vectors = linker.vectors
    assert hits.kinds.tolist() == vectors.kinds[hits.rows].tolist()
    assert hits.refs.tolist() == vectors.refs[hits.rows].tolist()


def test_more_rows_than_there_are(linker):
    n_rows = linker.vectors.n_rows
    hits = find_rows(linker.kb, encode(linker, [FEVER]), n_rows + 50)
    assert sorted(hits.rows.tolist()) == list(range(n_rows))


@pytest.mark.parametrize("decoded", [1, 3, 8_192])
def test_channels_are_compared_one_by_one(linker, monkeypatch, decoded):
    monkeypatch.setattr(search_module, "DECODED", decoded)
    encoded = encode(linker, [FEVER, SBMA])
    found = find_candidates(linker.kb, encoded, search_rows=6, limit=4, prior_weight=0.01)
    cosines = channel_cosines(linker.kb, encoded, found, linker.context_width)
    assert cosines.shape == (8, 2)
    width = linker.context_width
    for (surface, context), query, row in zip(cosines, found.queries, found.rows, strict=True):
        a, b = encoded.vectors[query], linker.vectors.index.reconstruct(int(row))
        for found_cosine, part in ((surface, slice(width, None)), (context, slice(0, width))):
            lengths = np.linalg.norm(a[part]) * np.linalg.norm(b[part])
            assert found_cosine == pytest.approx(a[part] @ b[part] / lengths, abs=1e-4)


# --- links without a ranker ---


def test_without_a_ranker_candidates_are_those_of_the_knowledge_base(linker):
    doc = linker.nlp("a fever and MI")
    spans = [(0, 1, 2), (0, 3, 4)]
    expected = linker.kb.candidates(linker.encode_spans([doc], spans), top_k=3, prior_weight=0.01)
    assert link_spans(linker, [doc], spans, ["", ""], 3) == expected
    # They are similarities, and no probabilities.
    assert sum(score for _, score in expected[1]) > 1


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
    many = [Entity(f"X{i:02}", f"common cold {i}", [f"a cold {i}"]) for i in range(60)]
    nlp, linker, examples = ready(by_document, search_rows=16)
    linker.set_kb(counted_kb(examples, [*VOCABULARY, *many]))
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


def test_behind_the_ranked_come_those_that_are_not_among_them():
    ranked = [("A", 0.7), ("B", 0.2)]
    others = [("B", 0.0), ("C", 0.0), ("A", 0.0), ("D", 0.0)]
    assert add_behind(ranked, others, 3) == [("A", 0.7), ("B", 0.2), ("C", 0.0)]
    assert add_behind([], others, 9) == others


def test_mentions_of_the_same_texts_share_their_candidates(monkeypatch):
    linker = fresh_linker(name_context=False)
    doc = linker.nlp(f"{TEXT} . Fever , SBMA and fever")
    spans = [FEVER, SBMA, (0, 17, 18), (0, 19, 20), (0, 21, 22), (0, 15, 16)]
    encoded = encode_mentions(linker, [doc], spans, [""] * len(spans))
    assert linker.vectors.n_empty == linker.context_width
    settings = {"search_rows": 5, "limit": 3, "prior_weight": 0.1}
    together = find_candidates(linker.kb, encoded, **settings)
    for i in range(len(spans)):
        alone = take_mentions(encoded, np.asarray([i]))
        expected = find_candidates(linker.kb, alone, **settings)
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
    find_candidates(linker.kb, encoded, **settings)
    assert asked == [3]


def test_training_mentions_do_not_share_what_their_documents_gave():
    linker = fresh_linker(name_context=False)
    kb = counted_kb([make_example(linker.nlp, "a fever", ("fever", "C08"))])
    linker.set_kb(kb)
    linker.refresh_vectors()
    assert kb.vectors.n_empty == linker.context_width
    docs = [linker.nlp("a fever"), linker.nlp("a fever")]
    encoded = encode_mentions(linker, docs, [(0, 1, 2), (1, 1, 2)], ["", ""])
    n_links, n_entities = len(kb.records.name_entities), kb.records.n_entities
    # The first document gave the knowledge base all that it has of every link.
    links, counts = np.arange(n_links), kb.records.name_counts
    documents = np.zeros(counts.sum(), dtype=np.int64)
    own = OwnUsage(
        encoded.table.documents,
        count_pairs(documents, np.repeat(links, counts), n_links),
        count_pairs(documents[:0], links[:0], n_entities),
    )
    settings = {"limit": 5, "prior_weight": 0.1, "own": own}
    found = find_candidates(kb, encoded, search_rows=5, **settings)
    hits = find_rows(kb, encoded, 5)
    expected = search_module.collect_candidates(hits, kb.records, 2, **settings)
    for field in found._fields:
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    first, second = (found.link_counts[slice(*found.offsets[i : i + 2])] for i in (0, 1))
    assert not first.any()
    assert second.any()
