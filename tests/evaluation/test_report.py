import pytest
import srsly

from spacy_metric_el.evaluation.mentions import LinkedMention
from spacy_metric_el.evaluation.metrics import linking_metrics, slices
from spacy_metric_el.evaluation.nil import nil_metrics
from spacy_metric_el.evaluation.report import (
    format_metrics,
    format_thresholds,
    markdown_table,
    write_metrics,
)


@pytest.fixture
def rows():
    mentions = [
        LinkedMention("d", "pain", frozenset({"C1"}), (("C1", 0.9),)),
        LinkedMention("d", "ache", frozenset({"C2"}), (("C1", 0.9), ("C2", 0.8))),
        LinkedMention("d", "fever", frozenset({"C3"}), ()),
    ]
    metrics = linking_metrics(mentions, kb={"C1", "C2"})
    cut = slices(mentions, seen_names={"pain"}, seen_entities={"C1", "C2"})
    return {
        "exact lookup": {"acc": 0.5, "acc_in_kb": 0.5123},
        "trained": {**metrics, "slices": cut, "mentions_per_second": 12345.6},
    }


def test_terminal_table(rows):
    header, rule, *lines = format_metrics(rows).strip("\n").split("\n")
    assert " ".join(header.split()) == (
        "run acc acc in KB recall@5 recall@64 MRR mentions/s "
        "seen name unseen name seen entity unseen entity"
    )
    assert set(rule) == {"-", " "}
    assert lines[0].split() == ["exact", "lookup", "50.0", "51.2", *"-" * 8]
    trained = "trained 33.3 50.0 66.7 66.7 50.0 12,346 100.0 0.0 50.0 0.0"
    assert lines[1].split() == trained.split()
    assert len({len(line) for line in [header, rule, *lines]}) == 1


def test_long_names_stay_in_their_column():
    text = format_metrics({"a run with quite a long name, longer than most": {"acc": 1.0}})
    assert len({len(line) for line in text.strip("\n").split("\n")}) == 1


def test_columns_that_no_run_has_are_left_out():
    assert markdown_table({"a": {"acc": 1.0, "slices": {}}}) == (
        "| run | acc |\n| --- | ---: |\n| a | 100.0 |"
    )


def test_markdown_table(rows):
    lines = markdown_table(rows).split("\n")
    assert lines[2].startswith("| exact lookup | 50.0 | 51.2 | - |")
    assert len({line.count("|") for line in lines}) == 1


def test_markdown_escapes_bars():
    assert markdown_table({"a|b": {"acc": 0.0}}).endswith("| a\\|b | 0.0 |")


@pytest.mark.parametrize("write", [format_metrics, markdown_table])
def test_no_runs(write):
    assert write({}).split()


def test_thresholds():
    mentions = [
        LinkedMention("d", "pain", frozenset({"C1"}), (("C1", 0.9),)),
        LinkedMention("d", "ache", frozenset({"C9"}), (("C1", 0.35),)),
    ]
    text = format_thresholds(nil_metrics(mentions, kb={"C1"}))
    header, _, *lines = text.strip("\n").split("\n")
    assert " ".join(header.split()) == "threshold abstained NIL P NIL R link P link R link F"
    assert [line.split()[0] for line in lines[:-1]] == [f"0.{i}0" for i in range(10)]
    assert lines[3].split() == ["0.30", "0", "0.0", "0.0", "50.0", "100.0", "66.7"]
    assert lines[4].split() == ["0.40", "1", *["100.0"] * 5]
    assert lines[-1].split() == ["best:", "0.625", "1", *["100.0"] * 5]
    assert len({len(line) for line in [header, *lines]}) == 1


def test_thresholds_of_nothing():
    assert "best" not in format_thresholds(nil_metrics([], kb=()))


def test_written_metrics_can_be_read(tmp_path, rows):
    path = tmp_path / "new" / "folder" / "metrics.json"
    write_metrics(path, {"acc": 0.0})
    write_metrics(str(path), rows)
    # srsly writes ten decimals.
    read = srsly.read_json(path)
    assert read["exact lookup"] == rows["exact lookup"]
    assert read["trained"]["slices"] == rows["trained"]["slices"]
    assert read["trained"]["acc"] == pytest.approx(rows["trained"]["acc"])
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(path, {"acc": 0.5})
    with pytest.raises(TypeError):
        write_metrics(path, {"acc": {1, 2}})
    assert srsly.read_json(path) == {"acc": 0.5}
    assert list(tmp_path.iterdir()) == [path]
