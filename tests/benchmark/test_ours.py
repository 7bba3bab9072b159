import pytest
from spacy.training import Example

from benchmark.results import read_predictions
from benchmark.rows.ours import OursRow
from benchmark.runner import run_row
from benchmark.task import TOP_K
from spacy_metric_el.errors import MetricELError

from ..util import make_kb, make_nlp


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


def test_more_candidates_change_none_of_the_first(pipeline, task, dev):
    row = OursRow(str(pipeline))
    row.train(task)
    for link in (row.link, row.link_with_long_forms):
        shallow, deep = link(dev, top_k=row.depth), link(dev, top_k=TOP_K)
        assert shallow == [candidates[: row.depth] for candidates in deep]
    assert row.depth < TOP_K


def test_missing_pipeline(tmp_path, task):
    with pytest.raises(MetricELError, match="E401"):
        OursRow(str(tmp_path / "none")).train(task)


def test_pipeline_without_linker(tmp_path, task):
    task.nlp.to_disk(tmp_path / "model")
    with pytest.raises(MetricELError, match=r"E409.*sentencizer"):
        OursRow(str(tmp_path / "model")).train(task)


def test_long_forms_are_read_only_by_the_second_column(pipeline, task, dev):
    row = OursRow(str(pipeline))
    row.train(task)
    assert "was given one" in row.notes[0]
    written, long = row.link(dev, top_k=3), row.link_with_long_forms(dev, top_k=3)
    # The short form of the infarction is one of the mitral insufficiency, too.
    short = [i for i, mention in enumerate(dev.mentions) if mention.text == "MI"]
    assert all(written[i][0][1] == written[i][1][1] for i in short)
    assert all(long[i][0][0] == "C01" and long[i][0][1] > long[i][1][1] for i in short)
    assert written[0] == long[0]
    assert "reads 3 mentions" in row.notes[-1]
    row.detects = False
    assert row.link_with_long_forms(dev, top_k=3) == written


def test_documents_are_not_rewritten(pipeline, task, dev_path, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.runner.expand_abbreviations", None)
    row = OursRow(str(pipeline))
    measures = run_row(row, task, corpus="small", test=dev_path, output=tmp_path)
    assert measures["short_forms"] == 2
    assert measures["probabilities"] is False


def test_labels_are_told_only_if_they_are_used(pipeline, task, dev, monkeypatch):
    row = OursRow(str(pipeline))
    row.train(task)
    told = []
    monkeypatch.setattr(
        row.linker,
        "predict_spans",
        lambda docs, spans, **kwargs: told.append(kwargs.get("labels")) or [()] * len(spans),
    )
    row.link(dev, top_k=3)
    row.linker.cfg["use_labels"] = True
    row.link(dev, top_k=3)
    assert told[0] is None
    assert told[1] == [mention.label for mention in dev.mentions]
    assert told[1][1] == "T184"


def test_more_candidates_are_put_behind_those_found_by_default(pipeline, task, dev_path, tmp_path):
    class ShallowRow(OursRow):
        def take(self, nlp, source):
            super().take(nlp, source)
            assert self.depth == self.linker.cfg["top_k"]
            self.depth = 1

    row = ShallowRow(str(pipeline))
    run_row(row, task, corpus="small", test=dev_path, output=tmp_path)
    lines = read_predictions(tmp_path / "small" / "ours.predictions.jsonl.gz")
    assert all(len(line[column]) > 1 for line in lines for column in ("off", "on"))
    assert sum("reads 3 mentions" in note for note in row.notes) == 1
