import pytest
from benchmark.rows.ours import OursRow
from spacy.training import Example

from spacy_metric_el.errors import MetricELError

from ...util import make_kb, make_nlp


@pytest.fixture
def pipeline(tmp_path):
    nlp = make_nlp("listener")
    nlp.get_pipe("metric_entity_linker").set_kb(make_kb())
    doc = nlp.make_doc("A bad cold .")
    nlp.initialize(lambda: [Example(doc, doc.copy())])
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model"


def test_links(pipeline, task, dev):
    row = OursRow(str(pipeline))
    row.train(task)
    found = row.link(dev, top_k=5)
    assert [candidates[0][0] for candidates in found[:3]] == ["C03", "C08", "C01"]
    assert all(len(candidates) == 5 for candidates in found)


def test_missing_pipeline(tmp_path, task):
    with pytest.raises(MetricELError, match="E401"):
        OursRow(str(tmp_path / "none")).train(task)


def test_pipeline_without_linker(tmp_path, task):
    task.nlp.to_disk(tmp_path / "model")
    with pytest.raises(MetricELError, match=r"E409.*sentencizer"):
        OursRow(str(tmp_path / "model")).train(task)
