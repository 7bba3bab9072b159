"""The transformer that computes in bfloat16, beside the one that it is made of."""

import copy

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc

from spacy_metric_el.encoding.upstream import uses_mixed_precision

from ..util import transformer_config

BFLOAT16 = "spacy_metric_el.BFloat16TransformerModel.v1"
TEXTS = ["a heart attack and a cold", "fever", "aspirin against headache " * 40]


def make(bert, architecture, **transformer_settings):
    nlp = spacy.blank("xx")
    config = transformer_config(bert, architecture=architecture)
    config["model"]["transformer_config"] = transformer_settings
    nlp.add_pipe("transformer", config=config)
    nlp.initialize()
    return nlp


@pytest.fixture
def pair(bert):
    return [make(bert, name) for name in ("spacy-transformers.TransformerModel.v3", BFLOAT16)]


def states(nlp):
    docs = list(nlp.pipe(TEXTS))
    return np.concatenate(
        [doc._.trf_data.model_output.last_hidden_state.reshape(-1, 32) for doc in docs]
    )


def test_outputs_are_near_and_float32(pair):
    whole, half = map(states, pair)
    assert half.dtype == np.float32
    lengths = np.linalg.norm(whole, axis=1) * np.linalg.norm(half, axis=1)
    assert ((whole * half).sum(axis=1) / lengths).min() > 0.999
    assert np.abs(whole - half).max() > 1e-5


def test_gradients_are_near_and_float32(pair):
    found = []
    for nlp in pair:
        model = nlp.get_pipe("transformer").model
        docs = [nlp.make_doc(text) for text in TEXTS]
        output, _ = model.begin_update(docs)
        last = output.model_output.last_hidden_state
        (last * torch.linspace(-1, 1, last.shape[-1])).sum().backward()
        found.append([p.grad for p in model.transformer.encoder.parameters()])
    for whole, half in zip(*found, strict=True):
        assert half.dtype == torch.float32
        if whole.norm() > 1e-3:
            assert torch.cosine_similarity(whole.flatten(), half.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("trip", ["disk", "bytes", "copy"])
def test_it_stays_what_it_is(pair, trip, tmp_path):
    _, nlp = pair
    expected = states(nlp)
    if trip == "disk":
        nlp.to_disk(tmp_path)
        found = spacy.load(tmp_path)
    elif trip == "bytes":
        found = spacy.blank("xx").from_config(nlp.config).from_bytes(nlp.to_bytes())
    else:
        found = copy.deepcopy(nlp.get_pipe("transformer").model)
        docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]
        alike = nlp.get_pipe("transformer").model.predict(docs).model_output.last_hidden_state
        np.testing.assert_array_equal(found.predict(docs).model_output.last_hidden_state, alike)
        return
    np.testing.assert_array_equal(states(found), expected)
    assert type(found.get_pipe("transformer").model.layers[0].shims[0]).__name__ == "BFloat16Shim"


def test_weights_fit_the_other_architecture(pair):
    whole, half = (nlp.get_pipe("transformer") for nlp in pair)
    with torch.no_grad():
        half.model.transformer.embeddings.word_embeddings.weight += 0.1
    whole.from_bytes(half.to_bytes())
    weights = whole.model.transformer.embeddings.word_embeddings.weight
    assert torch.equal(weights, half.model.transformer.embeddings.word_embeddings.weight)


def test_all_tensors_are_float32(bert):
    nlp = make(bert, BFLOAT16, output_hidden_states=True)
    output = nlp("a cold")._.trf_data.model_output
    assert [part.dtype for part in output.hidden_states] == [np.float32] * 3
    assert output.pooler_output.dtype == np.float32


def test_it_is_no_mixed_precision_that_scales_gradients(pair):
    _, nlp = pair
    assert not uses_mixed_precision([nlp.get_pipe("transformer").model])


@pytest.mark.parametrize("first", [0, 1])
def test_a_saved_pipeline_runs_with_the_other_architecture(pair, first, tmp_path):
    nlp, other = pair[first], pair[1 - first]
    nlp.to_disk(tmp_path)
    name = other.config["components"]["transformer"]["model"]["@architectures"]
    found = spacy.load(tmp_path, config={"components.transformer.model.@architectures": name})
    np.testing.assert_array_equal(states(found), states(other))


def test_mixed_precision_is_known(bert):
    nlp = spacy.blank("xx")
    config = transformer_config(bert, architecture=BFLOAT16)
    config["model"]["mixed_precision"] = True
    config["model"]["grad_scaler_config"] = {"growth_interval": 7}
    nlp.add_pipe("transformer", config=config)
    model = nlp.get_pipe("transformer").model
    assert uses_mixed_precision([model])
    assert model.layers[0].shims[0]._grad_scaler._growth_interval == 7
