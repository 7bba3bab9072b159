import math

import pytest
import torch

from benchmark.rows.sapbert import SapbertRow, align, multi_similarity_loss
from benchmark.wordpieces import WordpieceModel, batches_by_length, find_model
from spacy_metric_el.errors import MetricELError


def naive_loss(vectors, labels, alpha=2.0, beta=50.0, base=0.5, margin=0.2):
    """RETURNS (float): The multi-similarity loss, pair by pair."""
    n, total = len(labels), 0.0
    for i in range(n):
        similarity = [float(vectors[i] @ vectors[j]) for j in range(n)]
        positives = [j for j in range(n) if j != i and labels[j] == labels[i]]
        negatives = [j for j in range(n) if labels[j] != labels[i]]
        if positives and negatives:
            most = max(similarity[j] for j in negatives)
            least = min(similarity[j] for j in positives)
            pulls = [similarity[j] for j in positives if similarity[j] - margin < most]
            pushes = [similarity[j] for j in negatives if similarity[j] + margin > least]
            pull = sum(math.exp(-alpha * (s - base)) for s in pulls)
            push = sum(math.exp(beta * (s - base)) for s in pushes)
            total += math.log1p(pull) / alpha + math.log1p(push) / beta
    return total / n


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 4, 5]])
def test_loss_is_that_of_a_loop(labels):
    generator = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(6, 3, generator=generator))
    found = multi_similarity_loss(vectors, torch.tensor(labels))
    assert float(found) == pytest.approx(naive_loss(vectors, labels), rel=1e-4)


def test_batches_by_length():
    assert list(batches_by_length([5, 1, 3, 2], 3)) == [[1, 3, 2], [0]]


def test_vectors_do_not_depend_on_the_batch(bert):
    encoder = WordpieceModel(bert, precision="float32")
    names = ["fever", "a much longer name of it", "cold"]
    together = torch.from_numpy(encoder.encode_all(names))
    with torch.inference_mode():
        alone = torch.cat([encoder.encode_names([name]) for name in names])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)


def test_links_and_cache(bert, task, dev, tmp_path):
    found = []
    for _ in range(2):
        row = SapbertRow(model=str(bert), cache=tmp_path, precision="float32")
        training = row.train(task)
        found.append((training.details["cached_vectors"], row.link(dev, top_k=64)))
    assert [cached for cached, _ in found] == [False, True]
    assert found[0][1] == found[1][1]
    candidates = found[0][1]
    assert [linked[0][0] for linked in candidates[:3]] == ["C03", "C08", "C01"]
    assert candidates[0][0][1] == pytest.approx(1.0, abs=1e-3)
    assert all(len(linked) == 9 for linked in candidates)
    assert len(list(tmp_path.iterdir())) == 1


def test_alignment_changes_weights_and_counts_steps(bert, task):
    encoder = WordpieceModel(bert, precision="float32")
    before = encoder.fingerprint()
    # The first step is begun before the time is up.
    details = align(encoder, task.names, minutes=1e-7, seed=0)
    assert details["steps"] <= 1
    assert (encoder.fingerprint() != before) == (details["steps"] == 1)
    assert not encoder.model.training


def test_precision_is_found_out(bert):
    assert WordpieceModel(bert, precision="auto").precision in ("float32", "bfloat16")
    with pytest.raises(MetricELError, match="E410"):
        WordpieceModel(bert, precision="int8")


def test_missing_model(tmp_path, monkeypatch):
    with pytest.raises(MetricELError, match="E401"):
        find_model(str(tmp_path / "none"))
    monkeypatch.setattr("benchmark.wordpieces.MINILM", "no_such_package")
    with pytest.raises(MetricELError, match="E406"):
        find_model()
