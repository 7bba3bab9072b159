"""What a ranker learns from a corpus, what it must not see of it, and that it survives storage."""

import pickle

import numpy as np
import pytest
import spacy

from spacy_metric_el.encoding.mentions import encode_mentions
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.mentions import SpanRef
from spacy_metric_el.ranking.features import FEATURES
from spacy_metric_el.ranking.ranker import CandidateRanker
from spacy_metric_el.ranking.retrieval import channel_cosines, retrieve
from spacy_metric_el.training import fit_ranker as fit_ranker_module

from ..namesakes import (
    CONTEXTS,
    UNSEEN,
    accuracy,
    by_context,
    by_document,
    candidates,
    counted_kb,
    fitted,
    ready,
)
from ..util import (
    LINKER,
    NICKNAME_OF,
    NICKNAMES,
    make_example,
    make_kb,
    make_nlp,
    nickname_examples,
    train,
)

KINDS = ["own", "listener", "transformer"]


@pytest.fixture
def fits(monkeypatch):
    """What rankers are fitted with: themselves, and the arguments of `CandidateRanker.fit`."""
    seen = []

    class Spy(CandidateRanker):
        def fit(self, *args, **kwargs):
            seen.append((self, *args))
            return super().fit(*args, **kwargs)

    monkeypatch.setattr(fit_ranker_module, "CandidateRanker", Spy)
    return seen


def bert_of(kind, request):
    return request.getfixturevalue("bert") if kind == "transformer" else None


# --- learning ---


@pytest.mark.parametrize("kind", KINDS)
def test_other_mentions_of_the_document_tell_namesakes_apart(kind, request):
    """As they do for concepts that the corpus does not mention."""
    nlp, linker, _ = ready(by_document, kind, bert=bert_of(kind, request))
    new = by_document(nlp, start=7, repeats=1)
    unseen = by_document(nlp, UNSEEN, repeats=1)
    # Without a ranker, one concept of each name gets all of its mentions.
    assert accuracy(nlp, new) == accuracy(nlp, unseen) == 0.75
    linker.fit_ranker(nlp)
    assert accuracy(nlp, new) == accuracy(nlp, unseen) == 1.0


def test_the_context_tells_namesakes_apart(thorough):
    nlp, linker, _ = ready(by_context)
    new = by_context(nlp, start=70, repeats=1)
    assert accuracy(nlp, new) == 0.5
    linker.fit_ranker(nlp)
    assert accuracy(nlp, new) == 1.0
    found = zip(CONTEXTS, candidates(nlp, new), strict=True)
    assert all(dict(pairs)[cid] > 0.7 for (_, cid), pairs in found)


def test_given_examples_win_over_those_of_initialize():
    nlp, linker, _ = ready(by_context)
    linker.set_kb(counted_kb(by_document(nlp)))
    new = by_document(nlp, start=7, repeats=1)
    linker.fit_ranker(nlp, lambda: iter(by_document(nlp)))
    assert accuracy(nlp, new) == 1.0


def test_every_concept_of_a_composite_mention_is_right(fits):
    def composite(nlp):
        return [make_example(nlp, f"{i} . a cold and fever", ("cold", "C04|C03")) for i in range(3)]

    _, linker, _ = fitted(composite)
    _, found, _, _, is_right, _ = fits[0]
    assert {linker.kb.records.concept_id(e) for e in found.entities[is_right]} == {"C03", "C04"}
    assert is_right.sum() == 6


def test_mentions_of_nothing_teach_none_of_them(thorough):
    """Mentions of "NIL" and of concepts that the vocabulary lacks have no right candidate."""

    def with_nil(nlp):
        cases = [("fever", "C08", 4), ("a zorblax", "NIL", 6), ("a quimpy", "C99", 6)]
        return [
            make_example(nlp, f"{i} . saw {text} here", (text, cid))
            for text, cid, n in cases
            for i in range(n)
        ]

    nlp, linker, examples = ready(with_nil)
    linker.set_kb(make_kb())
    linker.fit_ranker(nlp)
    best = [pairs[0][1] for pairs in candidates(nlp, examples)]
    assert min(best[:4]) > 0.6
    assert max(best[4:]) < 0.3


# --- what a training mention is judged by ---


def zorblaxes(nlp):
    return [
        make_example(nlp, "a zorblax in winter", ("zorblax", "C07")),
        make_example(nlp, "a quimpy with fever", ("quimpy", "C08"), ("fever", "C08")),
        make_example(nlp, "her quimpy and quimpy", ("quimpy", "C08"), ("and quimpy", "C08")),
        make_example(
            nlp,
            "a vudge , headache , aspirin",
            ("vudge", "X1"),
            ("headache", "C07"),
            ("aspirin", "C05"),
        ),
    ]


def rows_of(linker, found, features, mentions, texts):
    """RETURNS (dict): The features of each pair of some mentions and a concept id."""
    ids = [linker.kb.records.concept_id(entity) for entity in found.entities]
    pairs = zip(found.mentions.tolist(), ids, features, strict=True)
    return {(texts[mention], cid): row for mention, cid, row in pairs if mention in mentions}


def test_a_training_mention_is_judged_as_one_of_a_new_document(fits):
    """Its evidence is what a ranker would have that was never shown its document."""
    settings = {"search_rows": 100, "prototypes_per_entity": 1, "use_labels": True}
    nlp, linker, examples = fitted(zorblaxes, **settings)
    ranker, found, channels, table, _, own = fits[0]
    seen = ranker.features(found, channels, table, own)
    for i, left_out in enumerate(examples):
        mine = np.flatnonzero(table.documents == i)
        judged = rows_of(linker, found, seen, mine, table.written)
        others = [eg for eg in examples if eg is not left_out]
        linker.set_kb(counted_kb(others))
        linker.fit_ranker(nlp, lambda others=others: others)
        ents = left_out.reference.ents
        spans, labels = (
            [SpanRef(0, ent.start, ent.end) for ent in ents],
            [ent.label_ for ent in ents],
        )
        encoded = encode_mentions(linker.encoder, [left_out.predicted], spans, labels)
        new = retrieve(linker.kb.records, linker.vectors, encoded, linker.settings)
        cosines = channel_cosines(linker.vectors, encoded, new)
        features = linker.get_ranker().features(new, cosines, encoded.table)
        fresh = rows_of(linker, new, features, range(len(ents)), encoded.table.written)
        assert judged.keys() == fresh.keys()
        for pair, row in judged.items():
            assert row == pytest.approx(fresh[pair], abs=2e-3), pair
        linker.set_kb(counted_kb(examples))


def test_what_only_its_own_document_says_is_left_out(fits):
    _, linker, _ = fitted(zorblaxes)
    ranker, found, channels, table, _, own = fits[0]
    features = ranker.features(found, channels, table, own)
    records, texts = linker.kb.records, table.written
    assert texts[:4] == ["zorblax", "quimpy", "fever", "quimpy"]
    assert texts[4:] == ["and quimpy", "vudge", "headache", "aspirin"]
    pairs = list(zip(found.mentions, found.entities, strict=True))

    def value(mention, concept_id, feature):
        place = pairs.index((mention, records.entity_index(concept_id)))
        return features[place][FEATURES.index(feature)]

    # A concept, and a name, of this document alone.
    assert (5, records.entity_index("X1")) not in pairs
    assert (1, records.entity_index("X1")) in pairs
    zorblax = pairs.index((0, records.entity_index("C07")))
    assert found.names[zorblax] != records.name_index("zorblax")
    # Of the four mentions of C08, two are of each document, and of the three "quimpy" one and one.
    assert value(1, "C08", "log_entity_count") == pytest.approx(np.log1p(2))
    assert value(1, "C08", "log_link_count") == pytest.approx(np.log1p(1))
    assert value(3, "C08", "log_link_count") == pytest.approx(np.log1p(1))
    # C07 has two mentions, in documents 0 and 3.
    assert value(0, "C07", "log_entity_count") == pytest.approx(np.log1p(1))
    assert value(1, "C07", "log_entity_count") == pytest.approx(np.log1p(2))
    assert value(0, "C07", "has_prototype") == 1
    assert value(1, "C01", "has_prototype") == 0


# --- corpora ---


def test_a_large_corpus_is_thinned_out_for_the_scorers_alone(fits, monkeypatch):
    nlp, linker, _ = fitted(by_document)
    monkeypatch.setattr(fit_ranker_module, "FIT_MENTIONS", 8)
    monkeypatch.setattr(fit_ranker_module, "DOCS_PER_BATCH", 5)
    linker.fit_ranker(nlp)
    (_, everything, _, all_mentions, _, _), (ranker, found, channels, table, is_right, _) = fits
    # 24 mentions of 12 documents: each third document is judged, as it is among all.
    assert table.documents.tolist() == [0, 0, 3, 3, 6, 6, 9, 9]
    assert len(channels) == len(is_right) == len(found.entities) == found.offsets[-1]
    places = np.flatnonzero(np.isin(all_mentions.documents, table.documents))
    for mention, place in enumerate(places):
        run = slice(*found.offsets[mention : mention + 2])
        same = slice(*everything.offsets[place : place + 2])
        assert found.entities[run].tolist() == everything.entities[same].tolist()
        assert found.base[run] == pytest.approx(everything.base[same], abs=1e-5)
        assert is_right[run].any()
    # The prototypes are of all documents.
    assert ranker.prototypes.sizes.sum() == 24


@pytest.mark.parametrize("docs_per_batch", [1, 5, 7])
def test_batches_and_documents_without_mentions_change_nothing(monkeypatch, docs_per_batch):
    nlp, linker, examples = fitted(by_document)
    expected = candidates(nlp, examples)
    monkeypatch.setattr(fit_ranker_module, "DOCS_PER_BATCH", docs_per_batch)
    empty = [make_example(nlp, "nothing"), make_example(nlp, "")]
    linker.fit_ranker(nlp, lambda: [*empty, *examples[:5], *empty, *examples[5:], *empty])
    for pairs, before in zip(candidates(nlp, examples), expected, strict=True):
        assert [cid for cid, _ in pairs[:2]] == [cid for cid, _ in before[:2]]
        assert [p for _, p in pairs] == pytest.approx([p for _, p in before], abs=1e-3)


def test_fitting_is_deterministic_and_leaves_the_global_generator_alone():
    found = []
    for seed in (3, 4):
        nlp, linker, examples = ready(by_context)
        np.random.seed(seed)
        expected = np.random.RandomState(seed).random()
        linker.fit_ranker(nlp)
        assert np.random.random() == expected
        found.append(candidates(nlp, examples))
    assert found[0] == found[1]


def test_a_linker_in_two_pipelines_is_fitted_in_the_one_that_is_given():
    nlp, linker, _ = fitted(by_context, "listener")
    other = make_nlp("listener")
    other.remove_pipe(LINKER)
    other.initialize()
    for node in other.get_pipe("tok2vec").model.walk():
        for name in node.param_names:
            node.set_param(name, node.get_param(name) * 0.5 + 0.1)
    other.add_pipe(LINKER, source=nlp)
    examples = by_context(other)
    linker.fit_ranker(other, lambda: examples)
    vectors = linker.vectors
    list(other.pipe([eg.reference.copy() for eg in examples]))
    # The pipeline's own documents need no other vectors.
    assert linker.vectors is vectors


@pytest.mark.parametrize("concept_id", ["elsewhere", "NIL", ""])
def test_no_mention_to_learn_from(concept_id):
    nlp, linker, _ = fitted(by_context)
    before = linker.learned
    nothing = [make_example(nlp, "a cold", ("cold", concept_id)), make_example(nlp, "")]
    for examples in (nothing, nothing[1:], []):
        with pytest.raises(MetricELError, match=rf"^\[E012\] .*'{LINKER}'"):
            linker.fit_ranker(nlp, lambda examples=examples: examples)
    assert linker.learned is before


def test_no_corpus_at_all(kb_folder):
    nlp = make_nlp()
    linker = nlp.get_pipe(LINKER)
    linker.load_kb(kb_folder)
    with pytest.raises(MetricELError, match=rf"^\[E014\] .*'{LINKER}'"):
        linker.fit_ranker(nlp)
    linker.fit_ranker(nlp, lambda: by_context(nlp))
    assert linker.learned is not None


def test_evidence_that_the_corpus_never_had_does_not_drown_the_rest(thorough):
    """A document's mentions lend each other nothing in a corpus of one mention a document."""
    nlp, linker, examples = ready(nickname_examples)
    linker.set_kb(make_kb(NICKNAMES))
    train(nlp, examples, 20)
    together = [make_example(nlp, " , ".join(NICKNAME_OF), *NICKNAME_OF.items())]
    assert accuracy(nlp, together) == 1.0
    linker.fit_ranker(nlp)
    assert accuracy(nlp, examples) == accuracy(nlp, together) == 1.0


# --- storage ---


@pytest.mark.parametrize("kind", KINDS)
def test_overfit_and_round_trip(kind, tmp_path, request):
    """Nicknames are learned by the encoder and ranked by the ranker, and stay so wherever saved."""
    spacy.util.fix_random_seed(0)
    bert = bert_of(kind, request)
    nlp = make_nlp(kind, bert=bert, entities=list(NICKNAME_OF))
    pairs = list(NICKNAME_OF.items())
    examples = [
        make_example(nlp, template.format(first[0], second[0]), first, second)
        for first, second in zip(pairs, [*pairs[1:], pairs[0]], strict=True)
        for template in ("She came in with {} and {} today", "He had severe {} , then {}")
    ]
    nlp.initialize(lambda: examples)
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb(NICKNAMES))
    train(nlp, examples, 40)
    linker.fit_ranker(nlp)
    text = "A patient reported " + " , ".join(NICKNAME_OF)

    def predicted(nlp):
        return [(ent.kb_id_, ent._.kb_ents) for ent in nlp(text).ents]

    expected = predicted(nlp)
    assert [cid for cid, _ in expected] == list(NICKNAME_OF.values())
    assert all(sum(p for _, p in pairs) <= 1 + 1e-5 for _, pairs in expected)
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    assert predicted(loaded) == expected
    other = spacy.util.load_model_from_config(nlp.config, auto_fill=True)
    assert predicted(other.from_bytes(nlp.to_bytes())) == expected
    unpickled = pickle.loads(pickle.dumps(loaded))
    assert unpickled.get_pipe(LINKER).learned is not loaded.get_pipe(LINKER).learned
    assert predicted(unpickled) == expected
    # It is the ranker that is kept: without it, scores are others.
    unpickled.get_pipe(LINKER).set_ranker(None)
    assert predicted(unpickled) != expected
