"""Fixtures that several rooms share."""

import multiprocessing
import signal
import string
import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import pytest
from hypothesis import settings

from spacy_metric_el.ranking.listwise import ScorerSettings
from spacy_metric_el.ranking.ranker import CandidateRanker
from spacy_metric_el.training import fit_ranker as fit_ranker_module

from .util import VOCABULARY, make_kb

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# spaCy imports it for every blank pipeline; it calls what PyTorch has deprecated since.
if find_spec("spacy_curated_transformers") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("spacy_curated_transformers.models")


@pytest.fixture
def kb_folder(tmp_path):
    """A folder with the small vocabulary, without vectors."""
    path = tmp_path / "small.kb"
    make_kb(VOCABULARY).to_disk(path)
    return path


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A folder with a tiny BERT of random weights, without dropout."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    # On shared cores a tiny model waits for its threads ten times longer than it computes.
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("bert")
    letters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    tokens += [f"##{letter}" for letter in letters]
    vocab = path / "vocab.txt"
    vocab.write_text("\n".join(tokens), encoding="utf8")
    BertTokenizerFast(vocab_file=str(vocab), model_max_length=128).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(path)
    return path


@pytest.fixture
def thorough(monkeypatch):
    """Fit rankers to the end: the default number of steps is one for thousands of mentions."""
    settings = ScorerSettings(epochs=40, batch_size=32, learn_rate=0.01)
    ranker = partial(CandidateRanker, settings=settings)
    monkeypatch.setattr(fit_ranker_module, "CandidateRanker", ranker)


@pytest.fixture
def alarm():
    """Fail a test that hangs, and take its workers along."""

    def ring(number, frame):
        for child in multiprocessing.active_children():
            child.terminate()
        raise TimeoutError("the workers hang")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
