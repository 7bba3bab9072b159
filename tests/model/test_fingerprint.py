import numpy as np
import pytest
import spacy
from thinc.api import Linear, chain

from spacy_metric_el.model.fingerprint import fingerprint, probe

from ..util import LINKER, make_example, make_kb, make_nlp


def linear(seed, nO=3, nI=4):
    model = Linear(nO=nO, nI=nI)
    rng = np.random.default_rng(seed)
    model.set_param("W", rng.standard_normal((nO, nI)).astype("float32"))
    model.set_param("b", np.zeros(nO, dtype="float32"))
    return model


def test_same_weights_same_digest():
    assert fingerprint([linear(0)]) == fingerprint([linear(0)])
    assert len(fingerprint([linear(0)])) == 32
    assert int(fingerprint([linear(0)]), 16) >= 0


def test_any_weight_decides():
    expected = fingerprint([linear(0)])
    assert fingerprint([linear(1)]) != expected
    for place in [(0, 0), (2, 3), (1, 1)]:
        model = linear(0)
        model.get_param("W")[place] += 1e-6
        assert fingerprint([model]) != expected


def test_shape_decides():
    a, b = linear(0, nO=2, nI=6), linear(0, nO=6, nI=2)
    for model in (a, b):
        model.set_param("W", np.zeros(model.get_param("W").shape, dtype="float32"))
        model.set_param("b", np.zeros(1, dtype="float32"))
    assert fingerprint([a]) != fingerprint([b])


def test_order_and_nesting_do_not_matter():
    a, b = linear(0), linear(1)
    assert fingerprint([a, b]) == fingerprint([b, a])
    assert fingerprint([chain(linear(0, nI=3), linear(1, nI=3))]) == fingerprint(
        [linear(0, nI=3), linear(1, nI=3)]
    )


def make(**model):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp("own", model=model)
    nlp.initialize(lambda: [make_example(nlp, "a cold", ("cold", "C03"))])
    return nlp, nlp.get_pipe(LINKER)


def test_settings_of_the_ngrams_decide():
    _, one = make()
    _, same = make()
    _, other = make(ngram_max_size=4)
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("name", ["listener", "transformer"])
def test_upstream_weights_decide(name, bert):
    nlp = make_nlp(name, bert=bert, model={"name_context": True})
    nlp.initialize(lambda: [make_example(nlp, "a cold", ("cold", "C03"))])
    linker = nlp.get_pipe(LINKER)
    before = linker.fingerprint(), probe(linker.encoder.models())
    assert (linker.fingerprint(), probe(linker.encoder.models())) == before
    model = nlp.get_pipe("tok2vec" if name == "listener" else name).model
    if name == "transformer":
        weight = model.transformer.embeddings.word_embeddings.weight
        weight.data += 0.01
    else:
        node = next(node for node in model.walk() if "E" in node.param_names)
        node.set_param("E", node.get_param("E") + 0.01)
    assert linker.fingerprint() != before[0]
    assert probe(linker.encoder.models()) != before[1]


def test_a_step_changes_the_probe():
    nlp, linker = make()
    linker.set_kb(make_kb())
    before = probe(linker.encoder.models()), linker.fingerprint()
    nlp.update([make_example(nlp, "a cold", ("cold", "C03"))], sgd=nlp.create_optimizer())
    assert probe(linker.encoder.models()) != before[0]
    assert linker.fingerprint() != before[1]


def test_round_trip_keeps_the_fingerprint(tmp_path):
    nlp, linker = make()
    nlp.to_disk(tmp_path / "nlp")
    assert spacy.load(tmp_path / "nlp").get_pipe(LINKER).fingerprint() == linker.fingerprint()


def test_weights_that_change_places_change_the_probe():
    _, linker = make()
    surface = linker.model.get_ref("head").get_ref("surface")
    before = probe([surface]), linker.fingerprint()
    # 2,048 bytes, and a multiple of them, apart.
    for gap in (16, 160):
        values = surface.get_param("E").copy()
        values[[0, gap]] = values[[gap, 0]]
        surface.set_param("E", values)
        assert probe([surface]) != before[0]
        assert linker.fingerprint() != before[1]
