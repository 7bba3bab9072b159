"""Training: what a step learns, what it must not break, and that it survives storage."""

import pickle
import random

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_metric_el.errors import MetricELWarning
from spacy_metric_el.model.fingerprint import probe

from ..util import (
    CURATED,
    LINKER,
    NICKNAMES,
    links,
    make_doc,
    make_example,
    make_kb,
    make_nlp,
    train,
    wake_ner,
)

KINDS = ["own", "listener", "transformer", CURATED]
UPSTREAM = {"listener": "tok2vec", "transformer": "transformer", "curated": "transformer"}
WORDS = ["zorblax", "quimpy", "vudge"]


@pytest.fixture
def build(request):
    def make(kind="own", *, entities=(), vocabulary=None, **settings):
        bert = request.getfixturevalue("bert") if kind in ("transformer", "curated") else None
        spacy.util.fix_random_seed(0)
        nlp = make_nlp(kind, bert=bert, entities=entities, **settings)
        nlp.initialize(lambda: [make_example(nlp, "He had a cold", ("cold", "C03"))])
        nlp.get_pipe(LINKER).set_kb(make_kb(vocabulary) if vocabulary else make_kb())
        return nlp

    return make


def linked(nlp):
    return [
        make_example(nlp, "He had a heart attack and fever", ("heart attack", "C01")),
        make_example(nlp, "Give aspirin for the cold", ("aspirin", "C05"), ("cold", "C03")),
    ]


def unlinked(nlp, concept_id="elsewhere"):
    return [
        make_example(nlp, "He had a heart attack and fever", ("heart attack", concept_id)),
        make_example(nlp, "Nothing at all"),
    ]


def head_gradients(nlp):
    head = nlp.get_pipe(LINKER).model.get_ref("head")
    return [
        np.linalg.norm(node.get_grad(name)) if node.has_grad(name) else 0.0
        for node in head.walk()
        for name in node.param_names
    ]


# --- learning ---


@pytest.mark.parametrize("kind", KINDS)
def test_overfit_and_round_trip(build, kind, tmp_path):
    """Nicknames that look like no name are learned, against what the fresh linker says."""
    nlp = build(kind, entities=WORDS, vocabulary=NICKNAMES)
    text = "A patient reported zorblax , quimpy and vudge"
    ids = [entity.concept_id for entity in NICKNAMES]
    fresh = [ent.kb_id_ for ent in nlp(text).ents]
    gold = [ids[(ids.index(cid) + 1 + i % 2) % 3] for i, cid in enumerate(fresh)]
    examples = [
        make_example(nlp, template.format(word), (word, cid))
        for word, cid in zip(WORDS, gold, strict=True)
        for template in ("She came in with {} today", "He had severe {}")
    ]
    assert train(nlp, examples, 40)[0] > 0
    doc = nlp(text)
    assert len(doc.ents) == 3
    assert all(a != b for a, b in zip(fresh, gold, strict=True))
    assert [ent.kb_id_ for ent in doc.ents] == gold

    expected = links(doc)
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    assert links(loaded(text)) == expected
    other = spacy.util.load_model_from_config(nlp.config, auto_fill=True)
    assert links(other.from_bytes(nlp.to_bytes())(text)) == expected
    # Not `nlp` itself: spaCy's Tok2VecListener keeps a closure of its last update.
    unpickled = pickle.loads(pickle.dumps(loaded))
    assert unpickled.get_pipe(LINKER) is not loaded.get_pipe(LINKER)
    assert links(unpickled(text)) == expected


def shared(nlp):
    """Two documents of one concept: each mention has a prototype of the other one."""
    return [*linked(nlp), make_example(nlp, "A cold again", ("cold", "C03"))]


@pytest.mark.parametrize("name_context", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_all_weights_learn(build, kind, name_context):
    """Of the gate, too, where names have a context channel to be weighed."""
    nlp = build(kind, model={"name_context": name_context})
    linker = nlp.get_pipe(LINKER)
    head = linker.model.get_ref("head")
    parameters = [
        (node, name, node.get_param(name).copy())
        for node in head.walk()
        for name in node.param_names
        if name_context or node is not head.get_ref("gate")
    ]
    assert len(parameters) == (6 if name_context else 4)
    upstream = nlp.get_pipe(UPSTREAM.get(kind, LINKER)).model
    states = probe([upstream])
    train(nlp, shared(nlp), 3)
    for node, name, before in parameters:
        assert (node.get_param(name) != before).any(), (node.name, name)
    assert probe([upstream]) != states


def test_predictions_after_training_use_fresh_vectors(build):
    nlp = build()
    linker = nlp.get_pipe(LINKER)
    doc = make_doc(nlp, "He had a heart attack", ("heart attack", ""))
    linker(doc)
    stale = linker.vectors
    assert stale.fingerprint == linker.fingerprint()
    train(nlp, linked(nlp), 3)
    assert linker.vectors is stale
    assert stale.fingerprint != linker.fingerprint()
    linker(doc)
    assert linker.vectors.fingerprint == linker.fingerprint()
    row = linker.kb.records.name_index("fever")
    assert linker.vectors.decode(np.asarray([row]))[0] == pytest.approx(
        linker.encode_names(["fever"])[0], abs=1e-5
    )


def test_vectors_stay_while_weights_do(build):
    nlp = build()
    linker = nlp.get_pipe(LINKER)
    linker(make_doc(nlp, "He had a heart attack", ("heart attack", "")))
    kept = linker.vectors
    linker(make_doc(nlp, "Some fever", ("fever", "")))
    linker.refresh_vectors()
    assert linker.vectors is kept


def test_training_is_deterministic(build):
    history = [train(nlp, linked(nlp), 5) for nlp in (build(), build())]
    assert history[0] == history[1]
    assert history[0][0] != history[0][-1]


def test_dropout_reaches_the_upstream_layers(build):
    nlp = build()
    linker = nlp.get_pipe(LINKER)
    linker.update(linked(nlp), drop=0.5)
    rates = [
        node.attrs["dropout_rate"] for node in linker.model.walk() if "dropout_rate" in node.attrs
    ]
    assert rates
    assert set(rates) == {0.5}


# --- batches with little in them ---


@pytest.mark.parametrize("kind", KINDS)
def test_losses_have_the_key_always(build, kind):
    nlp = build(kind)
    batches = {
        "linked": linked(nlp),
        "unknown": unlinked(nlp),
        "nil": unlinked(nlp, "NIL"),
        "without id": unlinked(nlp, ""),
        "without entities": [make_example(nlp, "Nothing at all")],
        "without tokens": [make_example(nlp, "")],
        "some without tokens": [make_example(nlp, ""), *linked(nlp)],
        "no documents": [],
    }
    for name, examples in batches.items():
        losses = {}
        if examples:
            nlp.update(examples, sgd=nlp.create_optimizer(), losses=losses)
        else:
            nlp.get_pipe(LINKER).update(examples, losses=losses)
        assert LINKER in losses, name
        assert (losses[LINKER] > 0) == (name in ("linked", "some without tokens")), name


def test_losses_add_up(build):
    nlp = build()
    losses = {LINKER: 1000.0}
    returned = nlp.get_pipe(LINKER).update(linked(nlp), losses=losses)
    assert returned is losses
    assert losses[LINKER] > 1000.0
    assert nlp.get_pipe(LINKER).update(linked(nlp))[LINKER] > 0


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("concept_id", ["elsewhere", ""])
def test_batch_without_links_leaves_the_gradient_of_the_recognizer(build, kind, concept_id):
    """Only the last listener back-propagates: an early return would drop what came before."""
    nlp = build(kind, ner=True)
    wake_ner(nlp)
    upstream, ner, linker = (nlp.get_pipe(name) for name in (UPSTREAM[kind], "ner", LINKER))
    state = upstream.model.to_bytes(), ner.model.to_bytes()

    def gradient(*, last):
        upstream.model.from_bytes(state[0])
        ner.model.from_bytes(state[1])
        for node in upstream.model.walk():
            for name in node.param_names:
                node.set_grad(name, np.zeros_like(node.get_param(name)))
            for shim in node.shims:
                shim._model.zero_grad()
        random.seed(0)
        np.random.seed(0)
        examples = unlinked(nlp, concept_id)
        listeners = upstream.listener_map[LINKER]
        if not last:
            # Without the linker the recognizer is the last listener.
            del upstream.listener_map[LINKER]
        try:
            upstream.update(examples)
            ner.update(examples)
            if last:
                losses = linker.update(examples)
                assert losses[LINKER] == 0.0
        finally:
            upstream.listener_map[LINKER] = listeners
        found = [
            node.get_grad(name).ravel()
            for node in upstream.model.walk()
            for name in node.param_names
        ]
        found += [
            p.grad.numpy().ravel()
            for node in upstream.model.walk()
            for shim in node.shims
            for p in shim._model.parameters()
            if p.grad is not None
        ]
        return np.concatenate(found)

    alone, with_linker = gradient(last=False), gradient(last=True)
    assert np.linalg.norm(alone) > 1e-3
    assert with_linker == pytest.approx(alone, rel=1e-4, abs=1e-5)


def test_batch_without_links_leaves_the_head(build):
    nlp = build(model={"name_context": True})
    nlp.get_pipe(LINKER).update(unlinked(nlp))
    assert not any(head_gradients(nlp))
    nlp.get_pipe(LINKER).update(linked(nlp))
    assert all(head_gradients(nlp))


def test_unknown_concepts_beside_known_ones_teach_nothing(build):
    """The loss is the one of the known mentions alone."""
    losses = []
    for extra in ([], [("fever", "elsewhere")]):
        nlp = build()
        examples = [make_example(nlp, "A chill with fever", ("chill", "C03"), *extra)]
        losses.append(nlp.get_pipe(LINKER).update(examples)[LINKER])
    assert losses[0] == losses[1] > 0


def test_first_known_concept_of_a_composite_mention(build):
    losses = []
    for concept_id in ("C03", "elsewhere|C03", "C03|elsewhere", "elsewhere"):
        nlp = build()
        examples = [make_example(nlp, "A bad chill", ("chill", concept_id))]
        losses.append(nlp.get_pipe(LINKER).update(examples)[LINKER])
    assert losses[0] == losses[1] == losses[2] > 0
    assert losses[3] == 0


def test_discarded_labels_teach_nothing(build):
    nlp = build(labels_discard=["ENTITY"])
    assert nlp.get_pipe(LINKER).update(linked(nlp))[LINKER] == 0.0


def test_custom_nil_teaches_nothing(build):
    nlp = build(nil="C03")
    examples = [make_example(nlp, "A cold", ("cold", "C03"))]
    assert nlp.get_pipe(LINKER).update(examples)[LINKER] == 0.0


@pytest.mark.parametrize("predicted", [[], [(0, 1)], [(0, 1), (1, 2), (3, 4), (4, 6), (6, 7)]])
def test_gold_counts_and_predicted_entities_do_not(build, predicted):
    """The stock linker misaligns its gradient rows when the two differ in number."""
    results = []
    for spans in (None, predicted):
        nlp = build()
        gold = make_doc(nlp, "He had a bad heart attack today", ("heart attack", "C01"))
        doc = nlp.make_doc(gold.text)
        doc.ents = [Span(doc, start, end, label="ENTITY") for start, end in spans or []]
        loss = nlp.get_pipe(LINKER).update([Example(doc, gold)])[LINKER]
        results.append((loss, head_gradients(nlp)))
    assert results[0] == results[1]
    assert results[0][0] > 0


def test_gold_on_other_tokens(build):
    nlp = build()
    gold = make_doc(nlp, "a heart attack and fever", ("heart attack", "C01"), ("fever", "C08"))
    doc = Doc(nlp.vocab, words=["a", "heart attack", "and", "fe", "ver"], spaces=[1, 1, 1, 0, 0])
    losses = {}
    nlp.update([Example(doc, gold)], sgd=nlp.create_optimizer(), losses=losses)
    assert losses[LINKER] > 0


def test_a_vocabulary_of_one_entity_has_no_negatives(build):
    nlp = build(vocabulary=NICKNAMES[:1])
    losses = {}
    examples = [make_example(nlp, "a zorblax", ("zorblax", "N1"))]
    nlp.update(examples, sgd=nlp.create_optimizer(), losses=losses)
    assert losses[LINKER] == 0.0


# --- what a pipeline calls ---


def test_rehearse_does_nothing(build):
    nlp = build()
    before = nlp.get_pipe(LINKER).model.to_bytes()
    optimizer = nlp.resume_training()
    assert nlp.rehearse(linked(nlp), sgd=optimizer) is not None
    assert nlp.get_pipe(LINKER).model.to_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_bare_initialize(kind, request):
    bert = request.getfixturevalue("bert") if kind in ("transformer", "curated") else None
    nlp = make_nlp(kind, bert=bert)
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    width = 32 if kind in ("transformer", "curated") else 16
    assert linker.model.get_ref("head").get_dim("nI") == width
    vectors = linker.encode_names(["fever"])
    assert np.linalg.norm(vectors) == pytest.approx(1.0, abs=1e-5)


def test_initialize_takes_a_loader(kb_folder):
    nlp = make_nlp(entities=["fever"])
    loader = {"@misc": "spacy_metric_el.FaissKnowledgeBase.v1", "path": str(kb_folder)}
    nlp.config["initialize"]["components"][LINKER] = {"kb_loader": loader}
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    assert len(linker.kb) == 8
    assert nlp("a fever").ents[0].kb_id_ == "C08"
    # The n-gram weights are of the names.
    w = linker.model.get_ref("head").get_ref("surface").get_param("w")
    assert len(np.unique(w)) > 1


def test_initialize_names_gold_concepts_that_the_vocabulary_lacks(kb_folder, caplog):
    nlp = make_nlp()
    loader = {"@misc": "spacy_metric_el.FaissKnowledgeBase.v1", "path": str(kb_folder)}
    nlp.config["initialize"]["components"][LINKER] = {"kb_loader": loader}
    nlp.initialize(lambda: linked(nlp))
    assert "[W004]" not in caplog.text
    nlp.initialize(lambda: [*linked(nlp), *unlinked(nlp), *unlinked(nlp, "NIL")])
    assert "[W004] 1 of 4 gold concepts" in caplog.text
    assert "elsewhere" in caplog.text


def test_initialize_warns_of_accumulated_gradients(kb_folder):
    nlp = make_nlp()
    nlp.config["training"] = {**nlp.config["training"], "accumulate_gradient": 3}
    with pytest.warns(MetricELWarning, match=r"^\[W001\] .*accumulate_gradient = 3"):
        nlp.initialize()


def test_training_without_initialize(kb_folder):
    """`load_kb` on a fresh linker is all that training needs."""
    nlp = make_nlp(entities=["fever"])
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    with nlp.select_pipes(enable=LINKER):
        history = train(nlp, linked(nlp), 3)
    assert history[0] > 0


def test_get_loss_is_not_how_it_learns(build):
    with pytest.raises(NotImplementedError):
        build().get_pipe(LINKER).get_loss([], None)


@pytest.mark.parametrize("factor", [0.0, 1.0, 20.0])
def test_own_layers_learn_at_their_own_rate(build, factor):
    """With Adam's first step every weight that has a gradient moves by the learning rate."""
    nlp = build("listener", learn_rate_factor=factor, model={"name_context": True})
    projection = nlp.get_pipe(LINKER).model.get_ref("head").get_ref("projection")
    optimizer = nlp.create_optimizer()
    optimizer.learn_rate, optimizer.L2 = 0.001, 0.0
    nlp.get_pipe(LINKER).refresh_vectors()
    before = projection.get_param("W").copy()
    nlp.update(linked(nlp), sgd=optimizer)
    moved = np.abs(projection.get_param("W") - before).max()
    assert moved == pytest.approx(0.001 * factor, rel=0.02)
    assert optimizer.learn_rate == 0.001
