import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.model.encoder import EncoderInput, build_metric_encoder
from spacy_metric_el.model.head import fit_projection, metric_head
from spacy_metric_el.model.pooling import pool_spans
from spacy_metric_el.model.surface import surface_channel

from ..gradients import check_direction, check_parameter

N_INPUT = 7
SPANS = np.asarray([[0, 0, 2], [2, 0, 1], [0, 2, 3], [2, 0, 3]])
TEXTS = ["heart attack", "MI", "aspirin", "MI"]
PARAMETERS = [
    ("projection", "W"),
    ("projection", "b"),
    ("gate", "W"),
    ("gate", "b"),
    ("surface", "E"),
    ("surface", "w"),
]


def make_head(*, context_width=6, context_share=0.3, seed=0):
    surface = surface_channel(5, weight_rows=64, vector_rows=32, max_size=4, seed=seed)
    head = metric_head(surface, context_width=context_width, context_share=context_share, seed=seed)
    head.set_dim("nI", N_INPUT)
    head.initialize()
    return head


@pytest.fixture
def head():
    head = make_head()
    rng = np.random.default_rng(5)
    gate, projection = head.get_ref("gate"), head.get_ref("projection")
    gate.set_param("W", rng.standard_normal(gate.get_param("W").shape).astype("float32"))
    projection.set_param("b", rng.standard_normal(6).astype("float32"))
    return head


@pytest.fixture
def tokvecs():
    rng = np.random.default_rng(4)
    return [rng.standard_normal((n, N_INPUT)).astype("float32") for n in (3, 0, 3)]


@pytest.fixture
def weights():
    return np.random.default_rng(6).standard_normal((len(SPANS), 11)).astype("float32")


def total(head, tokvecs, weights):
    return float((head.predict((tokvecs, SPANS, TEXTS)).astype("float64") * weights).sum())


def test_forward_written_out(head, tokvecs):
    Y = head.predict((tokvecs, SPANS, TEXTS))
    projection, gate = head.get_ref("projection"), head.get_ref("gate")
    for row, ((doc, start, end), text) in enumerate(zip(SPANS, TEXTS, strict=True)):
        pooled = tokvecs[doc][start:end].mean(axis=0)
        c = projection.get_param("W") @ pooled + projection.get_param("b")
        s = head.get_ref("surface").predict([text])[0]
        c, s = c / np.linalg.norm(c), s / np.linalg.norm(s)
        logit = gate.get_param("W")[0] @ np.concatenate((c, s)) + gate.get_param("b")[0]
        g = 1 / (1 + np.exp(-logit))
        expected = np.concatenate((np.sqrt(g) * c, np.sqrt(1 - g) * s))
        assert Y[row] == pytest.approx(expected, abs=1e-5)


def test_rows_have_unit_length(head, tokvecs):
    Y = head.predict((tokvecs, SPANS, TEXTS))
    assert Y.shape == (len(SPANS), 11)
    assert Y.dtype == np.float32
    assert np.linalg.norm(Y, axis=1) == pytest.approx(np.ones(len(SPANS)), abs=1e-5)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_untrained_gate_gives_the_context_its_share(tokvecs, share):
    Y = make_head(context_share=share).predict((tokvecs, SPANS, TEXTS))
    assert (Y[:, :6] ** 2).sum(axis=1) == pytest.approx(np.full(len(SPANS), share), abs=1e-5)


@pytest.mark.parametrize(("layer", "name"), PARAMETERS)
def test_gradients_of_parameters(head, tokvecs, weights, layer, name):
    _, backprop = head.begin_update((tokvecs, SPANS, TEXTS))
    backprop(weights)
    check_parameter(head.get_ref(layer), name, lambda: total(head, tokvecs, weights))


@pytest.mark.parametrize("document", [0, 2])
def test_gradients_of_token_vectors(head, tokvecs, weights, document):
    _, backprop = head.begin_update((tokvecs, SPANS, TEXTS))
    gradients = backprop(weights)
    assert [d.shape for d in gradients] == [v.shape for v in tokvecs]

    def put(value):
        tokvecs[document] = value

    check_direction(
        gradients[document], put, tokvecs[document], lambda: total(head, tokvecs, weights)
    )


@pytest.mark.parametrize("lengths", [(), (0,), (2, 0, 1)])
def test_no_spans(head, lengths):
    vecs = [np.ones((n, N_INPUT), dtype="float32") for n in lengths]
    Y, backprop = head.begin_update((vecs, np.zeros((0, 3), dtype=np.int64), []))
    assert Y.shape == (0, 11)
    gradients = backprop(np.zeros((0, 11), dtype="float32"))
    assert [d.shape for d in gradients] == [(n, N_INPUT) for n in lengths]
    assert not any(d.any() for d in gradients)


def test_same_seed_same_head(tokvecs):
    X = (tokvecs, SPANS, TEXTS)
    assert (make_head(seed=3).predict(X) == make_head(seed=3).predict(X)).all()
    assert (make_head(seed=3).predict(X) != make_head(seed=4).predict(X)).any()


def test_initialize_keeps_what_is_there(head, tokvecs):
    before = head.predict((tokvecs, SPANS, TEXTS))
    head.initialize()
    assert (head.predict((tokvecs, SPANS, TEXTS)) == before).all()


def crowded(n=500):
    """States in a cone: a large mean, and directions of very different spread."""
    rng = np.random.default_rng(7)
    spread = np.asarray([5, 3, 2, 1, 0.5, 0.3, 0.2])
    return (10 + rng.standard_normal((n, N_INPUT)) * spread).astype("float32")


def test_fit_projection_whitens():
    head = make_head()
    X = crowded()
    fit_projection(head, X)
    projected = head.get_ref("projection").predict(X).astype("float64")
    assert projected.mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-2)
    assert np.cov(projected, rowvar=False) == pytest.approx(np.eye(6), abs=2e-2)
    # The leading direction comes first.
    assert abs(head.get_ref("projection").get_param("W")[0]).argmax() == 0


def test_fit_projection_drops_directions_without_variance():
    head = make_head()
    X = crowded()
    X[:, 3:] = 1.0
    fit_projection(head, X)
    W = head.get_ref("projection").get_param("W")
    assert W.shape == (6, N_INPUT)
    assert np.isfinite(W).all()
    assert W[:3].any(axis=1).all()
    assert not W[3:].any()


def test_fit_projection_wider_than_its_input():
    head = make_head(context_width=N_INPUT + 4)
    fit_projection(head, crowded())
    W = head.get_ref("projection").get_param("W")
    assert W.shape == (N_INPUT + 4, N_INPUT)
    assert W[:N_INPUT].any(axis=1).all()
    assert not W[N_INPUT:].any()


def test_fit_projection_to_two_names_that_are_the_same():
    head = make_head()
    fit_projection(head, np.ones((2, N_INPUT), dtype="float32"))
    assert np.isfinite(head.get_ref("projection").get_param("W")).all()
    assert np.isfinite(head.get_ref("projection").get_param("b")).all()


# --- the encoder: a tok2vec and the head ---


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
