"""The encoder: a tok2vec and the head over it."""

import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.model.encoder import EncoderInput, build_metric_encoder, encoder_input
from spacy_metric_el.model.pooling import pool_spans

from ..gradients import check_parameter

N_INPUT = 7
SPANS = np.asarray([[0, 0, 2], [2, 0, 1], [0, 2, 3], [2, 0, 3]])
TEXTS = ["heart attack", "MI", "aspirin", "MI"]


@pytest.fixture
def weights():
    return np.random.default_rng(6).standard_normal((len(SPANS), 11)).astype("float32")


def table_tok2vec():
    """A tok2vec of one table: the k-th token of any document gets its row k."""

    def forward(model, docs, is_train):
        E = model.get_param("E")

        def backprop(d_tokvecs):
            for d in d_tokvecs:
                gradient = np.zeros_like(E)
                gradient[: len(d)] = d
                model.inc_grad("E", gradient)
            return []

        return [E[: len(doc)] for doc in docs], backprop

    def init(model, X=None, Y=None):
        E = np.random.default_rng(0).standard_normal((4, N_INPUT)).astype("float32")
        model.set_param("E", E)

    return Model("table", forward, init=init, params={"E": None}, dims={"nO": N_INPUT})


def make_encoder(**settings):
    return build_metric_encoder(
        table_tok2vec(),
        context_width=6,
        surface_width=5,
        ngram_weight_rows=64,
        ngram_vector_rows=32,
        **settings,
    )


@pytest.fixture
def encoder():
    encoder = make_encoder()
    encoder.initialize()
    return encoder


def docs(*lengths):
    return [Doc(Vocab(), words=["word"] * n) for n in lengths]


def test_encoder_is_the_head_over_the_tok2vec(encoder):
    batch = docs(3, 0, 3)
    Y = encoder.predict(EncoderInput(batch, SPANS, TEXTS))
    tokvecs = encoder.get_ref("tok2vec").predict(batch)
    assert (encoder.get_ref("head").predict((tokvecs, SPANS, TEXTS)) == Y).all()
    assert encoder.get_dim("nO") == Y.shape[1] == 11
    assert encoder.get_ref("head").get_dim("nI") == N_INPUT


def test_encoder_pools_with_all_documents(encoder):
    tokvecs = encoder.get_ref("tok2vec").predict(docs(3, 0, 3))
    pooled, _ = pool_spans(encoder.ops, tokvecs, SPANS, N_INPUT)
    assert pooled[0] == pytest.approx(tokvecs[0][:2].mean(axis=0), abs=1e-6)


def test_gradient_reaches_the_tok2vec(encoder, weights):
    X = EncoderInput(docs(3, 0, 3), SPANS, TEXTS)
    _, backprop = encoder.begin_update(X)
    assert backprop(weights) is X
    check_parameter(
        encoder.get_ref("tok2vec"),
        "E",
        lambda: float((encoder.predict(X).astype("float64") * weights).sum()),
    )


def test_encoder_without_spans_sends_zeros_to_the_tok2vec(encoder):
    X = EncoderInput(docs(3, 2), np.zeros((0, 3), dtype=np.int64), [])
    Y, backprop = encoder.begin_update(X)
    backprop(Y)
    assert encoder.get_ref("tok2vec").has_grad("E")
    assert not encoder.get_ref("tok2vec").get_grad("E").any()


def test_encoder_round_trip(encoder, weights):
    X = EncoderInput(docs(3, 0, 3), SPANS, TEXTS)
    other = make_encoder(seed=9).from_bytes(encoder.to_bytes())
    assert (other.predict(X) == encoder.predict(X)).all()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("context_share", 0.0),
        ("context_share", 1.0),
        ("context_share", -0.1),
        ("context_share", float("nan")),
        ("context_width", 0),
        ("surface_width", 0),
        ("ngram_weight_rows", 0),
        ("ngram_vector_rows", 0),
        ("ngram_min_size", 0),
        ("ngram_max_size", 1),
        ("seed", -1),
    ],
)
def test_encoder_settings_out_of_range(setting, value):
    with pytest.raises(MetricELError) as error:
        build_metric_encoder(table_tok2vec(), **{setting: value})
    assert error.value.code == "E011"
    assert f"`{setting}` of the metric encoder is {value}," in str(error.value)


def test_encoder_settings_at_the_edge_of_the_range():
    sizes = ["context_width", "surface_width", "ngram_weight_rows", "ngram_vector_rows"]
    sizes += ["ngram_min_size", "ngram_max_size"]
    model = build_metric_encoder(table_tok2vec(), **dict.fromkeys(sizes, 1), context_share=0.999)
    model.initialize()
    assert np.isfinite(model.predict(EncoderInput(docs(3, 0, 3), SPANS, TEXTS))).all()


def test_spans_are_put_together_with_their_own_texts_or_others():
    batch = [Doc(Vocab(), words=["a", "heart", "attack"]), Doc(Vocab(), words=["MI"])]
    spans = [(0, 1, 3), (1, 0, 1)]
    X = encoder_input(batch, spans)
    assert X.docs == batch
    assert X.spans.tolist() == [list(span) for span in spans]
    assert X.texts == ["heart attack", "MI"]
    assert encoder_input(batch, spans, ["infarction", "MI"]).texts == ["infarction", "MI"]
    assert encoder_input(batch, []).spans.shape == (0, 3)


@pytest.mark.parametrize("span", [(1, 2, 2), (1, 2, 1)])
def test_spans_without_tokens_are_named(span):
    with pytest.raises(MetricELError, match=rf"^\[E009\] Document 1: the span 2 to {span[2]}"):
        encoder_input(docs(3, 3), [(0, 0, 1), span])
