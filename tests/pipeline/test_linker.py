"""The component in use: links, candidates, settings, and what it refuses."""

import os
import subprocess
import sys

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_metric_el.encoding import kb_rows as encode_kb_module
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.pipeline.linker import SCORED_CANDIDATES, MetricEntityLinker
from spacy_metric_el.settings import LinkerSettings

from ..util import (
    LINKER,
    VOCABULARY,
    has_kb,
    links,
    make_doc,
    make_example,
    make_kb,
    make_nlp,
    set_ents,
)

PATTERNS = ["heart attack", "cold", "aspirin", "xyzzy", "fever", "mi"]
TEXT = "Heart attack and a cold"


@pytest.fixture
def nlp(kb_folder):
    """A fresh linker behind an entity ruler, as the README shows."""
    nlp = make_nlp(entities=PATTERNS)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


@pytest.fixture
def linker(nlp):
    return nlp.get_pipe(LINKER)


def raises(code):
    return pytest.raises(MetricELError, match=rf"^\[{code}\] ")


# --- links ---


def test_fresh_linker_links_known_names(nlp):
    doc = nlp("He had a heart attack, took aspirin against fever.")
    assert [(ent.text, ent.kb_id_) for ent in doc.ents] == [
        ("heart attack", "C01"),
        ("aspirin", "C05"),
        ("fever", "C08"),
    ]


def test_default_factory_settings_link_as_well(kb_folder):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "DISEASE", "pattern": "heart attack"}])
    linker = nlp.add_pipe("metric_entity_linker")
    linker.load_kb(kb_folder)
    (ent,) = nlp("She survived a heart attack.").ents
    assert ent.kb_id_ == "C01"
    assert linker.kb["C01"].canonical_name == "heart attack"
    assert ent._.kb_ents[0][1] > 0.8


def test_every_token_has_the_id_and_others_none(nlp):
    doc = nlp(TEXT)
    assert [token.ent_kb_id_ for token in doc[:2]] == ["C01", "C01"]
    assert [token.ent_kb_id_ for token in doc[2:4]] == ["", ""]


def test_candidates_are_plain_and_sorted(nlp):
    for ent in nlp(TEXT).ents:
        candidates = ent._.kb_ents
        assert type(candidates) is list
        assert len(candidates) > 1
        for candidate in candidates:
            assert type(candidate) is tuple
            assert [type(part) for part in candidate] == [str, float]
            assert 0.0 <= candidate[1] <= 1.0
        scores = [score for _, score in candidates]
        assert scores == sorted(scores, reverse=True)
        assert len({cid for cid, _ in candidates}) == len(candidates)
        assert candidates[0][0] == ent.kb_id_


def test_a_name_of_two_entities_gives_both(nlp):
    (ent,) = nlp("It is cold").ents
    assert {cid for cid, _ in ent._.kb_ents[:2]} == {"C03", "C04"}
    first, second, third = (score for _, score in ent._.kb_ents[:3])
    assert first - third > 0.2
    assert second - third > 0.2


def test_priors_decide_between_namesakes():
    nlp = make_nlp(entities=["cold"])
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    for winner in ("C03", "C04"):
        counts = {("cold", winner): 50}
        linker.set_kb(FaissKnowledgeBase.from_entities(VOCABULARY, counts))
        linker.cfg["prior_weight"] = 0.5
        assert nlp("It is cold").ents[0].kb_id_ == winner


@pytest.mark.parametrize("nil", ["NIL", "CUI-less"])
def test_threshold_gives_nil(kb_folder, nil):
    nlp = make_nlp(entities=PATTERNS, threshold=0.8, nil=nil)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    doc = nlp("heart attack with xyzzy")
    assert [ent.kb_id_ for ent in doc.ents] == ["C01", nil]
    # The candidates say what would have been linked.
    assert doc.ents[1]._.kb_ents
    assert doc.ents[1]._.kb_ents[0][1] < 0.8


def test_threshold_of_zero_or_none_links_everything(nlp, linker):
    for threshold in (None, 0.0):
        linker.cfg["threshold"] = threshold
        assert nlp("xyzzy").ents[0].kb_id_.startswith("C")


@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_top_k(nlp, linker, top_k):
    linker.cfg["top_k"] = top_k
    (ent,) = nlp("heart attack").ents
    assert len(ent._.kb_ents) == min(top_k, len(VOCABULARY))
    (candidates,) = linker.predict([nlp("heart attack")], top_k=2)[0]
    assert len(candidates) == 2


@pytest.mark.parametrize(("overwrite", "expected"), [(False, "mine"), (True, "C01")])
def test_overwrite(nlp, linker, overwrite, expected):
    linker.cfg["overwrite"] = overwrite
    doc = linker(make_doc(nlp, "Heart attack and fever", ("Heart attack", "mine"), ("fever", "")))
    assert [token.ent_kb_id_ for token in doc] == [expected, expected, "", "C08"]
    assert all(ent._.kb_ents for ent in doc.ents)


def test_labels_discard_in_a_batch_of_several_documents(nlp, linker):
    linker.cfg["labels_discard"] = ["SKIP"]
    docs = [nlp.make_doc("fever and aspirin") for _ in range(3)]
    for doc in docs:
        doc.ents = [Span(doc, 0, 1, label="SKIP"), Span(doc, 2, 3, label="KEEP")]
    for doc in linker.pipe(docs, batch_size=3):
        skipped, kept = doc.ents
        assert (skipped.kb_id_, skipped._.kb_ents) == ("NIL", [])
        assert kept.kb_id_ == "C05"


def test_documents_with_and_without_entities(nlp):
    texts = ["nothing here", "", "heart attack", "   ", "nothing", "fever"]
    docs = list(nlp.pipe(texts, batch_size=6))
    assert [[ent.kb_id_ for ent in doc.ents] for doc in docs] == [[], [], ["C01"], [], [], ["C08"]]
    assert list(nlp.pipe([])) == []


@pytest.mark.parametrize("texts", [[], [""], ["nothing here", ""]])
def test_no_entities_at_all(nlp, linker, texts):
    docs = [nlp.make_doc(text) for text in texts]
    assert linker.predict(docs) == [[] for _ in texts]
    linker.set_annotations(docs, linker.predict(docs))
    assert linker.predict_spans(docs, []) == []


def test_predict_takes_a_single_document(nlp, linker):
    doc = set_ents(nlp.make_doc("fever"), (0, 1))
    assert linker.predict(doc)[0][0][0][0] == "C08"


def test_links_do_not_depend_on_the_batch(nlp):
    texts = [TEXT, "", "aspirin", "a longer text with aspirin , fever and MI"] * 3
    alone = links([nlp(text) for text in texts])
    assert links(list(nlp.pipe(texts, batch_size=12))) == alone
    assert links(list(nlp.pipe(texts, batch_size=5))) == alone


def test_overlong_document(nlp):
    text = "heart attack " + "some words " * 9_100 + "fever"
    assert len(text) > 100_000
    doc = nlp(text)
    assert [ent.kb_id_ for ent in doc.ents] == ["C01", "C08"]


def test_predict_spans_of_any_tokens(nlp, linker):
    docs = [nlp("a heart attack"), nlp("nothing but pyrexia")]
    found = linker.predict_spans(docs, [(1, 2, 3), (0, 1, 3), (1, 2, 3)], top_k=1)
    assert [candidates[0][0] for candidates in found] == ["C08", "C01", "C08"]
    assert all(len(candidates) == 1 for candidates in found)


def test_span_without_a_token(nlp, linker):
    docs = [nlp("a heart attack")]
    with raises("E009"):
        linker.predict_spans(docs, [(0, 0, 1), (0, 2, 2)])


def test_encode_names_and_spans(nlp, linker):
    names = linker.encode_names(["fever", "Heart  attack"])
    assert names.shape == (2, linker.model.get_dim("nO"))
    assert names.dtype == np.float32
    assert np.linalg.norm(names, axis=1) == pytest.approx([1, 1], abs=1e-5)
    # The surface of a mention is encoded as the name is; names have no context.
    doc = nlp.make_doc("fever")
    (mention,) = linker.encode_spans([doc], [(0, 0, 1)])
    width = linker.encoder.context_width
    assert mention[width:] == pytest.approx(names[0, width:], abs=1e-5)
    assert not names[:, :width].any()
    # Each channel has length one, and so the whole has not.
    lengths = [np.linalg.norm(part) for part in (mention[:width], mention[width:], mention)]
    assert lengths == pytest.approx([1, 1, 2**0.5], abs=1e-5)


def test_mention_that_is_all_of_its_document_is_encoded_as_the_name_is():
    nlp = make_nlp(model={"name_context": True})
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    (name,) = linker.encode_names(["fever"])
    (mention,) = linker.encode_spans([nlp.make_doc("fever")], [(0, 0, 1)])
    assert mention == pytest.approx(name, abs=1e-5)
    assert np.linalg.norm(mention) == pytest.approx(1, abs=1e-5)


# --- determinism ---

SCRIPT = """
import sys
from tests.util import LINKER, links, make_nlp
nlp = make_nlp(entities=["heart attack", "cold", "aspirin"])
nlp.get_pipe(LINKER).load_kb(sys.argv[1], progress=False)
print(nlp.get_pipe(LINKER).fingerprint(), links(nlp("heart attack , cold and aspirin")))
"""


def test_two_fresh_pipelines_agree(nlp, kb_folder):
    np.random.seed(123)
    other = make_nlp(entities=PATTERNS)
    other.get_pipe(LINKER).load_kb(kb_folder)
    assert other.get_pipe(LINKER).fingerprint() == nlp.get_pipe(LINKER).fingerprint()
    assert links(other(TEXT)) == links(nlp(TEXT))


def test_loading_leaves_the_global_generator_alone(kb_folder):
    nlp = make_nlp()
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    assert np.random.random() == expected


def test_another_seed_is_another_encoder(kb_folder):
    prints = set()
    for seed in (0, 1):
        other = make_nlp(entities=PATTERNS, seed=seed, model={"name_context": True})
        other.get_pipe(LINKER).load_kb(kb_folder)
        prints.add(other.get_pipe(LINKER).fingerprint())
    assert len(prints) == 2


@pytest.mark.slow
def test_two_fresh_processes_agree(tmp_path):
    outputs = set()
    for number, hash_seed in enumerate(["0", "1"]):
        folder = tmp_path / f"{number}.kb"
        make_kb().to_disk(folder)
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        outputs.add(result.stdout)
    (output,) = outputs
    assert "C01" in output


# --- knowledge bases ---


def test_no_knowledge_base():
    nlp = make_nlp(entities=["fever"])
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    assert not has_kb(linker)
    with raises("E001"):
        nlp("a fever")
    with raises("E001"):
        linker.refresh_vectors()
    with raises("E001"):
        nlp.update([make_example(nlp, "a fever", ("fever", "C08"))])


def test_second_load_takes_the_stored_vectors(nlp, linker, kb_folder, monkeypatch):
    expected = links(nlp(TEXT))
    assert FaissKnowledgeBase.from_disk(kb_folder).vectors is not None

    def refuse(*args, **kwargs):
        raise AssertionError("encoded again")

    monkeypatch.setattr(encode_kb_module, "encode_rows", refuse)
    linker.load_kb(kb_folder, reencode=False)
    assert links(nlp(TEXT)) == expected
    other = make_nlp(entities=PATTERNS)
    other.get_pipe(LINKER).load_kb(kb_folder)
    assert links(other(TEXT)) == expected


def test_vectors_of_another_encoder(nlp, kb_folder, monkeypatch):
    other = make_nlp(entities=PATTERNS, model={"seed": 7})
    linker = other.get_pipe(LINKER)
    with raises("E005"):
        linker.load_kb(kb_folder, reencode=False)
    assert not has_kb(linker)
    linker.load_kb(kb_folder)
    assert FaissKnowledgeBase.from_disk(kb_folder).vectors.fingerprint == linker.fingerprint()
    assert other("heart attack").ents[0].kb_id_ == "C01"
    monkeypatch.setattr(encode_kb_module, "encode_rows", None)
    linker.load_kb(kb_folder)


def test_folder_without_vectors_and_without_leave_to_encode(kb_folder):
    nlp = make_nlp()
    with raises("E136"):
        nlp.get_pipe(LINKER).load_kb(kb_folder, reencode=False)


def test_read_only_folder(kb_folder, monkeypatch, caplog):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    nlp = make_nlp(entities=PATTERNS)
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    assert nlp("heart attack").ents[0].kb_id_ == "C01"
    assert not list(kb_folder.glob("vectors*"))
    assert any(record.getMessage().startswith("[W005]") for record in caplog.records)


def test_knowledge_base_of_another_width(nlp, linker):
    wide = make_nlp(model={"context_width": 8})
    wide.initialize()
    kb = make_kb()
    wide.get_pipe(LINKER).set_kb(kb)
    wide.get_pipe(LINKER).refresh_vectors()
    assert wide.get_pipe(LINKER).vectors.width != linker.model.get_dim("nO")
    linker.set_kb(kb)
    assert nlp("heart attack").ents[0].kb_id_ == "C01"
    assert linker.vectors.width == linker.model.get_dim("nO")


def check_refusal(linker, code, change, argument):
    """Check that a knowledge base is refused, and that the old one stays."""
    before = linker.kb
    with raises(code):
        change(argument)
    assert linker.kb is before


def test_damaged_folder_leaves_the_old_knowledge_base(linker, tmp_path):
    check_refusal(linker, "E132", linker.load_kb, tmp_path)


def test_set_kb_takes_what_makes_one(nlp, linker):
    vocabs = []

    def maker(vocab):
        vocabs.append(vocab)
        return make_kb(VOCABULARY[:1])

    linker.set_kb(maker)
    assert vocabs == [nlp.vocab]
    assert len(linker.kb) == 1
    assert nlp("fever").ents[0].kb_id_ == "C01"


@pytest.mark.parametrize("wrong", ["folder", 3, None, lambda vocab: "kb"])
def test_set_kb_refuses_anything_else(linker, wrong):
    check_refusal(linker, "E007", linker.set_kb, wrong)


def test_new_knowledge_base_is_encoded_when_it_is_needed(nlp, linker):
    kb = make_kb(VOCABULARY[:2])
    linker.set_kb(kb)
    assert kb.vectors is None
    nlp("heart attack")
    assert kb.vectors is None
    assert linker.vectors.fingerprint == linker.fingerprint()


# --- what is refused ---


@pytest.mark.parametrize("kind", ["listener", "transformer"])
def test_disabled_upstream(kind, request):
    bert = request.getfixturevalue("bert") if kind == "transformer" else None
    nlp = make_nlp(kind, bert=bert, entities=["fever"])
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb())
    name = "tok2vec" if kind == "listener" else kind
    assert nlp("a fever").ents[0].kb_id_ == "C08"
    with nlp.select_pipes(disable=name), raises("E003"):
        nlp("a fever")
    assert nlp("a fever").ents[0].kb_id_ == "C08"
    with nlp.select_pipes(disable=name):
        assert not nlp("nothing").ents


@pytest.mark.parametrize("kind", ["listener", "transformer"])
def test_upstream_without_weights(kind, kb_folder, request):
    bert = request.getfixturevalue("bert") if kind == "transformer" else None
    nlp = make_nlp(kind, bert=bert)
    with raises("E004"):
        nlp.get_pipe(LINKER).load_kb(kb_folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 0},
        {"search_rows": 0},
        {"names_per_entity": 0},
        {"prior_weight": -0.1},
        {"negatives_per_entity": -1},
        {"prototypes_per_entity": 0},
        {"prototype_radius": -0.1},
        {"threshold": 1.1},
        {"threshold": -0.1},
    ],
)
def test_settings_out_of_range(settings):
    (setting,) = settings
    with raises("E008") as caught:
        make_nlp(**settings)
    assert f"`{setting}`" in str(caught.value)


def test_unknown_setting_at_run_time(nlp, linker):
    linker.cfg["no_such_setting"] = 1
    with raises("E016") as caught:
        nlp(TEXT)
    assert "`no_such_setting`" in str(caught.value)


def test_component_without_settings_has_the_defaults(linker):
    plain = MetricEntityLinker(linker.vocab, linker.model, loss=None, scorer=None)
    assert plain.settings == LinkerSettings()


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": 1.0}, {"prior_weight": 0}])
def test_settings_at_the_edge_of_the_range(settings):
    (setting,) = settings
    assert make_nlp(**settings).get_pipe(LINKER).cfg[setting] == settings[setting]


# --- scoring ---


def test_score_links_the_gold_mentions_of_copies(nlp, linker):
    gold = make_doc(nlp, "a heart attack and fever", ("heart attack", "C01"), ("fever", "C02"))
    predicted = nlp.make_doc("a heart attack and fever")
    (example,) = examples = [Example(predicted, gold)]
    scores = linker.score(examples)
    assert scores["el_acc"] == 0.5
    assert scores["el_recall_at_64"] == 1.0
    assert predicted.ents == ()
    assert example.predicted is predicted
    assert [ent.kb_id_ for ent in gold.ents] == ["C01", "C02"]


def test_score_of_predicted_mentions(nlp, linker):
    linker.cfg["use_gold_ents"] = False
    gold = make_doc(nlp, "a heart attack and fever", ("heart attack", "C01"), ("fever", "C08"))
    predicted = linker(set_ents(nlp.make_doc("a heart attack and fever"), (4, 5)))
    assert linker.score([Example(predicted, gold)])["el_acc"] == 0.5


def test_score_looks_deeper_than_top_k(nlp, linker):
    linker.cfg["top_k"] = 1
    gold = make_doc(nlp, "a heart attack", ("heart attack", "C05"))
    scores = linker.score([Example(nlp.make_doc("a heart attack"), gold)])
    assert len(VOCABULARY) < SCORED_CANDIDATES
    assert scores["el_acc"] == 0.0
    assert scores["el_recall_at_64"] == 1.0


def test_score_on_other_tokens(nlp, linker):
    gold = make_doc(nlp, "a heart attack and fever", ("heart attack", "C01"), ("fever", "C08"))
    words = ["a", "heart attack", "and", "fe", "ver"]
    predicted = Doc(nlp.vocab, words=words, spaces=[True, True, True, False, False])
    assert linker.score([Example(predicted, gold)])["el_acc"] == 1.0


def test_score_without_a_scorer(nlp, linker):
    linker.scorer = None
    gold = make_doc(nlp, "a heart attack", ("heart attack", "C01"))
    assert linker.score([Example(nlp.make_doc("a heart attack"), gold)]) == {}


def test_score_knows_the_knowledge_base(nlp, linker):
    gold = make_doc(nlp, "a fever and aspirin", ("fever", "C08"), ("aspirin", "elsewhere"))
    scores = linker.score([Example(nlp.make_doc("a fever and aspirin"), gold)])
    assert scores["el_acc"] == 0.5
    assert scores["el_acc_in_kb"] == 1.0


@pytest.mark.parametrize("kind", ["own", "listener", "transformer"])
def test_evaluate_leaves_the_entities_that_other_scorers_see(kind, request):
    bert = request.getfixturevalue("bert") if kind == "transformer" else None
    nlp = make_nlp(kind, bert=bert, entities=["aspirin"])
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb())
    examples = [make_example(nlp, "a fever and aspirin", ("fever", "C08"), ("aspirin", "C05"))]
    linker, seen = nlp.get_pipe(LINKER), []
    score = linker.score

    def spy(examples, **kwargs):
        before = [[ent.text for ent in eg.predicted.ents] for eg in examples]
        scores = score(examples, **kwargs)
        seen.append((before, [[ent.text for ent in eg.predicted.ents] for eg in examples]))
        return scores

    linker.score = spy
    scores = nlp.evaluate(examples)
    # The ruler finds one of the two mentions, the linker is asked about both.
    assert scores["ents_r"] == 0.5
    assert scores["ents_p"] == 1.0
    assert scores["el_acc"] == 1.0
    assert seen == [([["aspirin"]], [["aspirin"]])]
    nlp.get_pipe(LINKER).cfg["use_gold_ents"] = False
    assert nlp.evaluate(examples)["el_acc"] == 0.5
