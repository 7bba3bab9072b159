import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

pytest.importorskip("scispacy.linking_utils")

from benchmark.rows import scispacy_linker
from benchmark.rows.scispacy_linker import ScispacyRow, decide, export_kb, make_vectors
from spacy_metric_el.errors import MetricELError


@pytest.fixture
def row(task):
    pytest.importorskip("nmslib")
    row = ScispacyRow(min_df=1)
    row.train(task)
    return row


def test_kb_has_the_names_of_training_mentions(task):
    kb = export_kb(task.kb, task.names)
    assert set(kb.cui_to_entity) == set(task.names.concepts)
    assert kb.alias_to_cuis["fever and headache"] == {"C07", "C08"}
    assert kb.cui_to_entity["C01"].definition == "Death of heart muscle."
    assert sorted(alias.casefold() for alias in kb.alias_to_cuis) == sorted(task.names.keys)


def test_vectors_leave_out_names_without_n_grams():
    vectorizer, vectors, kept = make_vectors(["fever", "feverish", "xyz"], min_df=2)
    assert kept.tolist() == [0, 1]
    assert vectors.shape == (2, len(vectorizer.vocabulary_))
    assert (vectors.data == vectors.data.astype(np.float16)).all()


def test_decision_of_its_linker():
    found = [("C1", [0.5, 0.9]), ("C2", [0.7]), ("C3", [0.9, 0.1])]
    candidates = [SimpleNamespace(concept_id=c, similarities=s) for c, s in found]
    assert decide(candidates) == (("C1", 0.9), ("C3", 0.9), ("C2", 0.7))


def test_links(row, dev):
    found = row.link(dev, top_k=30)
    best = [candidates[0][0] if candidates else "" for candidates in found]
    assert best[:3] == ["C03", "C08", "C01"]
    assert best[6:9] == ["C07", "C05", "C77"]
    assert found[2][0][1] == pytest.approx(1.0, abs=1e-3)


def test_its_own_index_finds_the_same(row, task, dev):
    own = ScispacyRow(index="hnsw", min_df=1, max_minutes=2)
    own.train(task)
    for exact, approximate in zip(row.link(dev, top_k=3), own.link(dev, top_k=3), strict=True):
        assert [score for _, score in approximate][:1] == pytest.approx(
            [score for _, score in exact][:1], abs=1e-3
        )


def test_index_that_takes_too_long(monkeypatch):
    def run(command, *, timeout, **kwargs):
        raise subprocess.TimeoutExpired(command, timeout)

    pytest.importorskip("nmslib")
    monkeypatch.setattr(scispacy_linker.subprocess, "run", run)
    with pytest.raises(MetricELError, match=r"E407.*0\.5 minutes"):
        scispacy_linker.build_hnsw(sparse.csr_matrix(np.eye(3)), max_minutes=0.5, threads=1)


def test_unknown_index():
    with pytest.raises(MetricELError, match="E410"):
        ScispacyRow(index="annoy")
