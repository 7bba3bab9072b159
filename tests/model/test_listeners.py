"""Listeners of three packages are told apart and asked alike."""

import pytest

from spacy_metric_el.model.listeners import (
    curated_upstream_name,
    find_listener,
    has_batch,
    is_curated,
    is_frozen,
    lacks_batch,
    missing_states,
    release,
    upstream_name,
)

from ..util import CURATED, LINKER, make_example, make_nlp

KINDS = ["listener", "transformer", CURATED]
UPSTREAM = {"listener": "tok2vec", "transformer": "transformer", "curated": "transformer"}


@pytest.fixture
def listening(request):
    """A function that makes a pipeline and gives its tok2vec layer and the listener in it."""

    def make(kind):
        bert = request.getfixturevalue("bert") if kind != "listener" else None
        nlp = make_nlp(kind, bert=bert)
        nlp.initialize()
        tok2vec = nlp.get_pipe(LINKER).model.get_ref("tok2vec")
        return nlp, tok2vec, find_listener(tok2vec)

    return make


def send(nlp, kind, text="a cold"):
    """Let the upstream component begin an update. RETURNS (Doc): What it was given."""
    example = make_example(nlp, text, ("cold", "C03"))
    nlp.get_pipe(UPSTREAM[kind]).update([example], sgd=None, losses={})
    return example.predicted


def test_a_model_of_its_own_has_no_listener():
    tok2vec = make_nlp().get_pipe(LINKER).model.get_ref("tok2vec")
    assert find_listener(tok2vec) is None
    assert not lacks_batch(tok2vec)


@pytest.mark.parametrize("kind", KINDS)
def test_a_listener_is_found_and_asks_for_any_upstream(listening, kind):
    _, tok2vec, listener = listening(kind)
    assert listener in list(tok2vec.walk())
    assert upstream_name(listener) == "*"
    assert is_curated(listener) == (kind == "curated")
    if kind == "curated":
        assert curated_upstream_name(listener) == "*"


def test_a_listener_may_name_its_upstream():
    nlp = make_nlp("listener")
    block = nlp.config["components"][LINKER]["model"]
    named = {**block, "tok2vec": {**block["tok2vec"], "upstream": "tok2vec"}}
    linker = nlp.add_pipe(LINKER, name="second", config={"model": named})
    assert upstream_name(find_listener(linker.model.get_ref("tok2vec"))) == "tok2vec"


@pytest.mark.parametrize("kind", KINDS)
def test_an_upstream_that_sends_nothing_is_frozen(listening, kind):
    nlp, tok2vec, listener = listening(kind)
    assert is_frozen(listener)
    assert lacks_batch(tok2vec) == (kind == "curated")
    send(nlp, kind)
    assert not is_frozen(listener)
    assert not lacks_batch(tok2vec)
    if kind == "curated":
        assert has_batch(listener)


def test_a_released_tok2vec_listener_has_nothing_of_its_upstream(listening):
    nlp, _, listener = listening("listener")
    send(nlp, "listener")
    release(listener)
    assert is_frozen(listener)
    assert (listener._outputs, listener._backprop) == (None, None)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_other_listeners_let_go_by_themselves(listening, kind):
    nlp, _, listener = listening(kind)
    send(nlp, kind)
    release(listener)
    assert not is_frozen(listener)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_missing_until_the_upstream_has_seen_the_document(listening, kind):
    nlp, _, listener = listening(kind)
    seen, unseen, empty = nlp.make_doc("a cold"), nlp.make_doc("a cold"), nlp.make_doc("")
    seen = nlp.get_pipe(UPSTREAM[kind])(seen)
    assert not missing_states(listener, [seen])
    assert not missing_states(listener, [empty])
    assert not missing_states(listener, [])
    assert missing_states(listener, [seen, empty, unseen])
