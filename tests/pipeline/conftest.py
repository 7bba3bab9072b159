"""Fixtures for linkers with a ranker, and for worker processes."""

import multiprocessing
import signal
from functools import partial

import pytest

from spacy_metric_el.pipeline import fit_ranker as fit_ranker_module
from spacy_metric_el.ranking.ranker import CandidateRanker
from spacy_metric_el.ranking.scorer import ScorerSettings


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
