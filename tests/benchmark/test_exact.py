import pytest

from benchmark.rows.exact import ExactRow
from benchmark.task import Task
from spacy_metric_el.errors import MetricELError
from spacy_metric_el.evaluation.baseline import ExactLookup


def test_best_candidate_is_that_of_the_baseline(task, dev):
    row = ExactRow()
    row.train(task)
    names = task.names
    pairs = [
        (text, names.concepts[entity])
        for i, text in enumerate(names.texts)
        for entity in names.entities[names.offsets[i] : names.offsets[i + 1]]
    ]
    trained = [(text, concept) for text, concepts in task.train_mentions for concept in concepts]
    lookup = ExactLookup(trained, pairs)
    found = row.link(dev, top_k=64)
    for mention, candidates in zip(dev.mentions, found, strict=True):
        assert (candidates[0][0] if candidates else "") == lookup.predict(mention.text)
    assert sum(map(bool, found)) == 8


def test_training_first_then_the_knowledge_base(task, dev):
    row = ExactRow()
    row.train(task)
    found = row.link(dev, top_k=64)
    assert found[0] == (("C03", 0.75), ("C04", 0.25))
    assert found[3] == (("C01", 0.0), ("C02", 0.0))
    assert row.link(dev, top_k=1)[0] == (("C03", 0.75),)


def test_missing_files(task, tmp_path):
    for kb, train in ((tmp_path / "none", task.train_path), (task.kb_path, tmp_path / "none")):
        with pytest.raises(MetricELError, match="E401"):
            Task(kb, train)
