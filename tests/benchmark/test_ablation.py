import pytest
import srsly
from typer.testing import CliRunner

from benchmark.ablation import (
    Ablation,
    RefittedRow,
    ablations,
    render,
    run_ablations,
    training_documents,
)
from benchmark.report import read_rows
from benchmark.run import app
from spacy_metric_el.ranking.ranker import EVIDENCE

from .test_configured import CONFIG, SMALL, make_row

RETRAINED = ("memory", "negatives", "clusters", "context", "surface", "name-context")


@pytest.fixture(scope="module")
def known():
    return ablations(CONFIG)


def fitted_scorers(row):
    """RETURNS (list): Scales of the scorers of a row's ranker: 0 for what they do not see."""
    ranker = row.linker.get_ranker()
    return [ranker.alone.scale, ranker.together.scale]


def test_hidden_evidence_has_no_weight(task, dev):
    row = make_row("ranked")
    row.train(task)
    shown = [scale.copy() for scale in fitted_scorers(row)]
    blind = Ablation("less", evidence=("similarity", "word_jaccard", "elsewhere_max"))
    RefittedRow(row, training_documents(row, task), "less", blind).train(task)
    hidden = fitted_scorers(row)
    for name in ("similarity", "word_jaccard"):
        place = EVIDENCE.index(name)
        assert all(scale[place] > 0 for scale in shown)
        assert all(scale[place] == 0 for scale in hidden)
    assert hidden[1][EVIDENCE.index("elsewhere_max")] == 0
    assert hidden[0][EVIDENCE.index("surface")] > 0
    assert len(row.link(dev, top_k=5)) == len(dev.mentions)


def test_what_is_off_comes_back(task, known):
    row = make_row("ranked")
    row.train(task)
    before, pipes = dict(row.linker.cfg), row.nlp.pipe_names
    for ablation in known.values():
        with ablation.applied(row):
            assert all(row.linker.cfg[key] == value for key, value in ablation.cfg.items())
            assert row.detects == ablation.detects
            assert (row.nlp.pipe_names == pipes) == ablation.detects
        assert (dict(row.linker.cfg), row.nlp.pipe_names) == (before, pipes)
        assert row.detects


def test_every_ablation_changes_one_thing(known):
    for name, ablation in known.items():
        changes = (ablation.overrides, ablation.cfg or ablation.evidence)
        changes += (not ablation.detects, not ablation.ranks)
        assert sum(map(bool, changes)) == (name != "full")
        assert set(ablation.evidence) <= set(EVIDENCE)
    assert len(set(EVIDENCE)) == len(EVIDENCE)
    assert known["name-context"].overrides == {"linker.model.name_context": True}


def test_rows_and_table(task, known, dev_path, tmp_path):
    names = ("full", "ranker", "wording", "labels", *RETRAINED)
    chosen = {name: known[name] for name in names}
    place = {"config": CONFIG, "corpus": "small", "test": dev_path, "output": tmp_path}
    run_ablations(task, chosen, overrides=SMALL, **place)
    folder = tmp_path / "small" / "ablation"
    rows = read_rows(folder)
    assert set(rows) == set(chosen)
    assert not rows["ranker"]["probabilities"]
    assert rows["wording"]["probabilities"]
    assert rows["memory"]["settings"]["overrides"]["linker.memory_weight"] == 0.0
    assert not list((tmp_path / "small").glob("*.json"))
    text, differences = render("small", rows, folder)
    assert set(differences) == set(chosen) - {"full"}
    lines = [line for line in text.split("\n") if line.startswith("| full")]
    assert len(lines) == 1
    assert "an upper bound" in text


def test_command(kb_path, train_path, dev_path, tmp_path):
    options = [f"--override={key}={value}" for key, value in SMALL.items()]
    files = ["--kb", str(kb_path), "--train", str(train_path), "--output", str(tmp_path)]
    run = ["ablate", "small", *files, "--config", str(CONFIG), *options]
    result = CliRunner().invoke(app, [*run, "--only", "ranker"])
    assert result.exit_code == 0, result.output
    assert set(srsly.read_json(tmp_path / "small-ablation.json")["rows"]) == {"ranker"}
    assert "| ranker |" in (tmp_path / "small-ablation.md").read_text(encoding="utf8")
    result = CliRunner().invoke(app, [*run, "--only", "nothing"])
    assert result.exit_code == 1
    assert "E410" in result.output
