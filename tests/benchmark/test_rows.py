"""Files and tables of rows, with the exact lookup as row."""

import pytest
import srsly
from typer.testing import CliRunner

from benchmark.report import compare, read_rows, render
from benchmark.results import PREDICTIONS_SUFFIX, paired_difference, read_predictions, write_row
from benchmark.rows.exact import ExactRow
from benchmark.run import app
from benchmark.runner import deepen, run_row
from benchmark.task import Training
from spacy_metric_el.errors import MetricELError


class ConstantRow:
    """Links every mention to one concept, and its neighbour if asked for more."""

    def __init__(self, name, concept_id, depth=64):
        self.name, self.concept_id, self.depth = name, concept_id, depth
        self.settings, self.notes = {"concept_id": concept_id}, ["always the same"]

    def train(self, task):
        return Training(seconds=2.0, details={"steps": 3})

    def link(self, corpus, *, top_k):
        found = ((self.concept_id, 1.0), ("C08", 0.5))
        return [found[: 1 if top_k < 64 else 2] for _ in corpus.mentions]


@pytest.fixture
def measured(task, dev_path, tmp_path):
    for row in (ExactRow(), ConstantRow("peer", "C05", depth=1), ConstantRow("ours", "C01")):
        run_row(row, task, corpus="small", test=dev_path, output=tmp_path)
    return tmp_path / "small"


def test_measures(measured):
    measures = srsly.read_json(measured / "exact.json")
    # Right: both colds and fevers, the infarction, aspirin, zorblax; MI has C01 first.
    off = measures["abbreviations_off"]
    assert (off["mentions"], off["nil_mentions"]) == (9, 1)
    assert off["acc"] == pytest.approx(8 / 9)
    assert off["acc_in_kb"] == 1.0
    assert off["slices"]["unseen_entity"] == {"n": 1, "acc": 0.0}
    assert off["slices"]["seen_name"]["n"] == 3
    assert set(off) >= {"acc_interval", "recall_at_5", "recall_at_64", "mrr"}
    assert measures["short_forms"] == 2
    assert measures["kb"]["concepts"] == 9
    assert measures["documents"] == 2


def test_training_and_depth(measured):
    measures = srsly.read_json(measured / "peer.json")
    assert measures["training"] == {"build_seconds": 0.0, "seconds": 2.0, "steps": 3}
    # The best candidate is found by default, the fevers only by the deeper search.
    off = measures["abbreviations_off"]
    assert off["acc"] == pytest.approx(1 / 9)
    assert off["recall_at_64"] == pytest.approx(3 / 9)


def test_predictions(measured, dev):
    lines = read_predictions(measured / f"exact{PREDICTIONS_SUFFIX}")
    assert [line["text"] for line in lines] == [mention.text for mention in dev.mentions]
    assert lines[3]["off"] == [["C01", 0.0], ["C02", 0.0]]
    assert lines[3]["on"] == [["C01", 0.0]]
    assert lines[3]["long_form"] == "myocardial infarction"
    assert lines[0]["off"] == lines[0]["on"]


def test_deepen_keeps_the_order_that_was_found_first():
    found = deepen([(("C1", 0.5),), ()], [(("C2", 0.6), ("C1", 0.5)), (("C3", 0.1),)])
    assert found == [(("C1", 0.5), ("C2", 0.6)), (("C3", 0.1),)]


def test_paired_difference(measured):
    exact, ours = (measured / f"{name}{PREDICTIONS_SUFFIX}" for name in ("exact", "ours"))
    found = paired_difference(ours, exact, "off")
    assert (found["only_first"], found["only_second"]) == (0, 5)
    assert found["difference"] == pytest.approx(-5 / 9)
    low, high = found["interval"]
    assert low <= found["difference"] <= high


def test_rows_of_different_mentions_are_not_compared(measured, task, dev_path, tmp_path):
    run_row(ExactRow(name="short"), task, corpus="small", test=dev_path, output=tmp_path, limit=1)
    paths = (measured / f"{name}{PREDICTIONS_SUFFIX}" for name in ("exact", "short"))
    with pytest.raises(MetricELError, match="E405"):
        paired_difference(*paths, "off")


def test_table(measured):
    write_row(measured, "late", {"row": "late", "documents": 2, "test": "x", "error": "too slow"})
    table = compare(read_rows(measured), measured)
    assert table["best_peer"] == {"off": "peer", "on": "peer"}
    assert set(table["differences"]["off"]) == {"ours - exact", "ours - peer"}
    lines = [
        [cell.strip() for cell in line.split("|")] for line in render("small", table).split("\n")
    ]
    cells = {line[1]: line for line in lines if len(line) > 2}
    assert cells["exact"][2] == "88.9"
    assert cells["**peer** (best peer)"][2] == "11.1"
    assert cells["late"][2:-1] == ["-"] * 13
    assert cells["ours - exact"][2] == "-55.6"
    rows = [line for line in lines if line[1:2] and line[1] in cells]
    widths = {len(line) for line in rows if line[1] in ("row", "exact", "late", "ours")}
    assert len(widths) == 1
    assert "too slow" in render("small", table)


def test_variants_of_ours_are_no_peers(measured):
    rows = read_rows(measured)
    rows["ours-minilm"] = {**rows["exact"], "row": "ours-minilm"}
    (measured / f"ours-minilm{PREDICTIONS_SUFFIX}").write_bytes(
        (measured / f"exact{PREDICTIONS_SUFFIX}").read_bytes()
    )
    table = compare(rows, measured)
    assert table["best_peer"]["off"] == "peer"
    assert table["differences"]["off"]["ours-minilm - exact"]["difference"] == 0.0


def test_rows_of_fewer_documents_are_no_best_peer(measured, task, dev_path, tmp_path):
    row = ConstantRow("lucky", "C03")
    run_row(row, task, corpus="small", test=dev_path, output=tmp_path, limit=1)
    table = compare(read_rows(measured), measured)
    assert table["compared"] == ["exact", "ours", "peer"]
    assert table["rows"]["lucky"]["abbreviations_off"]["acc"] > 0.15
    assert table["best_peer"]["off"] == "peer"
    (note,) = (line for line in render("small", table).split("\n") if line.startswith("- lucky"))
    assert "not those of the other rows" in note


def test_seeds_are_averaged(measured):
    rows = read_rows(measured)
    for seed, (acc, ece) in enumerate([(0.5, 0.02), (0.6, 0.04)]):
        off = {**rows["exact"]["abbreviations_off"], "acc": acc, "calibration": {"ece": ece}}
        name = f"ours-trained-seed{seed}"
        probable = {"row": name, "probabilities": True, "abbreviations_off": off}
        rows[name] = {**rows["exact"], **probable}
        (measured / f"{name}{PREDICTIONS_SUFFIX}").write_bytes(
            (measured / f"exact{PREDICTIONS_SUFFIX}").read_bytes()
        )
    rows["ours-other-seed0"] = {**rows["ours"], "row": "ours-other-seed0"}
    (measured / f"ours-other-seed0{PREDICTIONS_SUFFIX}").write_bytes(
        (measured / f"ours{PREDICTIONS_SUFFIX}").read_bytes()
    )
    table = compare(rows, measured)
    assert list(table["seeds"]) == ["ours-trained"]
    found = table["seeds"]["ours-trained"]
    assert found["rows"] == ["ours-trained-seed0", "ours-trained-seed1"]
    assert found["off"]["acc"] == pytest.approx({"mean": 0.55, "deviation": 0.005**0.5})
    assert found["off"]["ece"]["mean"] == pytest.approx(0.03)
    assert "seed" not in str(table["best_peer"])
    lines = [x.split("|") for x in render("small", table).split("\n") if "mean of 2" in x]
    assert len(lines) == 2
    assert lines[0][2].strip() == "55.0 ± 7.1"
    assert lines[0][8].strip() == "3.0"


def test_calibration_is_shown_of_probabilities_alone(measured):
    lines = [
        x.split("|") for x in render("small", compare(read_rows(measured), measured)).split("\n")
    ]
    header = next(line for line in lines if len(line) > 8 and line[1].strip() == "row")
    assert header[8].strip() == "ECE"
    (exact, _) = (line for line in lines if len(line) > 9 and line[1].strip() == "exact")
    assert exact[8].strip() == "-"


def test_no_rows(tmp_path):
    with pytest.raises(MetricELError, match="E403"):
        read_rows(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "{"])
def test_files_that_are_no_rows(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="utf8")
    with pytest.raises(MetricELError, match="E404"):
        read_rows(tmp_path)


def test_nothing_to_measure(task, tmp_path):
    path = tmp_path / "nil.pubtator"
    path.write_text("1|t|Cold.\n1\t0\t4\tCold\tT047\t-1\n", encoding="utf8")
    with pytest.raises(MetricELError, match="E402"):
        run_row(ExactRow(), task, corpus="small", test=path, output=tmp_path)


def test_commands(kb_path, train_path, dev_path, tmp_path):
    runner = CliRunner()
    files = ["--kb", str(kb_path), "--train", str(train_path), "--dev", str(dev_path)]
    run = ["exact", "small", *files, "--output", str(tmp_path)]
    result = runner.invoke(app, run)
    assert result.exit_code == 0, result.output
    assert "88.9" in result.output
    result = runner.invoke(app, ["table", "small", "--folder", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "| exact |" in (tmp_path / "small.md").read_text(encoding="utf8")
    assert set(srsly.read_json(tmp_path / "small.json")["rows"]) == {"exact"}
    result = runner.invoke(app, ["table", "none", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "E403" in result.output


def test_missing_file_is_one_line(kb_path, train_path, tmp_path):
    files = ["--kb", str(kb_path), "--train", str(train_path), "--dev", str(tmp_path / "no")]
    result = CliRunner().invoke(app, ["exact", "small", *files, "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("[E401]")


@pytest.mark.parametrize("command", [command.name for command in app.registered_commands])
def test_help_has_examples(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"benchmark.run {command}" in result.output
