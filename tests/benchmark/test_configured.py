"""Rows that make their pipeline from the project's own config, made small."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import srsly
from typer.testing import CliRunner

from benchmark import wordpieces
from benchmark.options import find_test, read_overrides
from benchmark.rows.ours import STAGES, ConfiguredRow
from benchmark.run import OURS, app
from benchmark.runner import run_row
from benchmark.task import Task
from spacy_metric_el.errors import MetricELError

CONFIG = Path(__file__).resolve().parents[2] / "project" / "configs" / "cnn.cfg"
TRANSFORMER = CONFIG.with_name("minilm.cfg")

SMALL = {
    "components.tok2vec.model.width": 16,
    "components.tok2vec.model.depth": 1,
    "components.tok2vec.model.embed_size": 300,
    "linker.model.context_width": 16,
    "linker.model.surface_width": 32,
    "linker.model.ngram_weight_rows": 2048,
    "linker.model.ngram_vector_rows": 512,
    "training.max_steps": 1,
    "training.eval_frequency": 1,
}


def make_row(stage, **overrides):
    return ConfiguredRow(CONFIG, stage, overrides={**SMALL, **overrides})


@pytest.mark.parametrize("stage", STAGES)
def test_stages(stage, task, dev_path, tmp_path):
    row = make_row(stage)
    measures = run_row(row, task, corpus="small", test=dev_path, output=tmp_path)
    assert measures["row"] == f"ours-{stage}"
    assert measures["probabilities"] == (stage in ("ranked", "trained"))
    assert (measures["training"]["seconds"] > 0) == (stage != "untrained")
    assert measures["settings"]["seed"] == 0
    assert measures["abbreviations_off"]["mentions"] == 9
    assert 0 <= measures["abbreviations_on"]["calibration"]["ece"] <= 1
    assert "nil" in measures["abbreviations_on"]


def test_measures_on_no_file_that_it_trains_with(task):
    config = make_row("trained").configure(task)
    assert config["paths"]["dev"] == config["paths"]["train"] == str(task.train_path)


def test_seed_and_limit_reach_the_config(kb_path, train_path):
    row = make_row("trained", **{"linker.memory_weight": 0.5})
    config = row.configure(Task(kb_path, train_path, train_limit=1, seed=7))
    component = config["components"]["metric_entity_linker"]
    blocks = (config["training"], config["training"]["batcher"], component)
    assert [block["seed"] for block in (*blocks, component["model"])] == [7] * 4
    assert config["corpora"]["train"]["limit"] == 1
    assert component["memory_weight"] == 0.5


@pytest.mark.parametrize("name", ["sentence-transformers/all-MiniLM-L6-v2", "other/model"])
def test_weights_of_an_installed_package_are_preferred_to_a_hub(task, monkeypatch, tmp_path, name):
    package = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(wordpieces, "find_spec", lambda package_name: package)
    path = tmp_path / "minilm.cfg"
    path.write_text(TRANSFORMER.read_text().replace("sentence-transformers/all-MiniLM-L6-v2", name))
    row = ConfiguredRow(path, "trained", overrides={})
    expected = str(tmp_path / "model") if name.endswith("all-MiniLM-L6-v2") else name
    assert row.configure(task)["paths"]["transformer"] == expected
    row = ConfiguredRow(path, "trained", overrides={"paths.transformer": "mine"})
    assert row.configure(task)["paths"]["transformer"] == "mine"


def test_bad_configs(task, tmp_path):
    with pytest.raises(MetricELError, match="E401"):
        ConfiguredRow(tmp_path / "no.cfg", "trained").train(task)
    with pytest.raises(MetricELError, match="E411"):
        make_row("trained", **{"nowhere.at.all": 1}).train(task)
    path = tmp_path / "other.cfg"
    path.write_text('[nlp]\nlang = "en"\n[components]\n[components.x]\nfactory = "ner"\n')
    with pytest.raises(MetricELError, match=r"E409.*x"):
        ConfiguredRow(path, "trained").train(task)


def test_every_stage_has_a_command():
    assert set(OURS) == set(STAGES)


def test_overrides():
    found = read_overrides(["linker.top_k=5", "paths.x=a b"], steps=3)
    assert found["training.max_steps"] == found["training.eval_frequency"] == 3
    assert (found["linker.top_k"], found["paths.x"]) == (5, "a b")
    with pytest.raises(MetricELError, match="E410"):
        read_overrides(["top_k"])


def test_default_test_file(tmp_path):
    assert find_test("", tmp_path / "train.pubtator") == tmp_path / "dev.pubtator"
    assert find_test("x", tmp_path / "train.pubtator") == Path("x")


def test_command(kb_path, train_path, dev_path, tmp_path):
    options = [f"--override={key}={value}" for key, value in SMALL.items()]
    files = ["--kb", str(kb_path), "--train", str(train_path), "--output", str(tmp_path)]
    run = ["ours-untrained", "small", *files, "--config", str(CONFIG), *options, "--seed", "2"]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.output
    measures = srsly.read_json(tmp_path / "small" / "ours-untrained-seed2.json")
    assert measures["settings"]["seed"] == 2
    result = CliRunner().invoke(app, [*run, "--name", "mine", "--limit", "1"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "small" / "mine-seed2.json").is_file()
    assert measures["test"] == str(dev_path)
