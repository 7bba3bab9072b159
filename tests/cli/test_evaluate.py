"""`evaluate`."""

import shutil

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from spacy_metric_el.kb import FaissKnowledgeBase

from ..util import LINKER

KEYS = {
    "mentions",
    "nil_mentions",
    "acc",
    "acc_in_kb",
    "in_kb",
    "recall_at_5",
    "recall_at_64",
    "mrr",
    "mentions_per_second",
    "linking_mentions_per_second",
    "acc_interval",
    "gold_ids_not_in_kb",
    "slices",
    "calibration",
    "nil",
}
SLICES = {"seen_name", "unseen_name", "seen_entity", "unseen_entity"}


@pytest.fixture
def evaluate(run, tmp_path):
    """Evaluate, and read the metrics that were written."""

    def invoke(*args):
        output = tmp_path / "metrics.json"
        result = run("evaluate", *args, "--output", output)
        assert result.exit_code == 0, result.output
        return srsly.read_json(output), result.output

    return invoke


def test_evaluate_links_every_gold_mention(evaluate, files):
    metrics, output = evaluate(files.fresh, files.dev)
    assert set(metrics) >= KEYS | SLICES
    assert metrics["documents"] == 2
    assert (metrics["mentions"], metrics["nil_mentions"]) == (6, 1)
    # All but the sunburn; "cold" could be either of two concepts.
    assert metrics["in_kb"] == pytest.approx(5 / 6)
    assert metrics["acc"] >= 4 / 6
    assert metrics["recall_at_64"] == pytest.approx(5 / 6)
    assert (metrics["gold_ids"], metrics["gold_ids_not_in_kb"]) == (6, 1)
    assert metrics["acc_interval"][0] <= metrics["acc"] <= metrics["acc_interval"][1]
    assert metrics["linking_mentions_per_second"] >= metrics["mentions_per_second"] > 0
    for part in SLICES:
        assert metrics[part] == metrics["slices"][part]
    assert metrics["seen_name"]["n"] == 0
    assert "exact_lookup" not in metrics
    assert "recall@64" in output
    assert "1 of 6" in output


def test_evaluate_measures_scores(evaluate, files):
    metrics, output = evaluate(files.fresh, files.dev)
    assert 0 <= metrics["calibration"]["ece"] <= 1
    assert sum(row["count"] for row in metrics["calibration"]["bins"]) == 7
    # The sunburn is not in the knowledge base, and the whole sentence has no concept.
    assert metrics["nil"]["mentions"] == 2
    assert metrics["nil"]["thresholds"][0]["link_recall"] == pytest.approx(metrics["acc_in_kb"])
    assert metrics["nil"]["best"]["link_f"] >= metrics["nil"]["thresholds"][0]["link_f"]
    assert "Expected calibration error" in output
    assert "link F" in output
    assert "best: " in output


def test_evaluate_with_a_training_corpus(evaluate, files):
    metrics, output = evaluate(files.fresh, files.dev, "--train", files.train)
    assert {part: metrics[part]["n"] for part in SLICES} == {
        "seen_name": 3,
        "unseen_name": 3,
        "seen_entity": 4,
        "unseen_entity": 2,
    }
    # Cold, fever and headache, fever, heart attack and, as a name, acetylsalicylic acid.
    assert metrics["exact_lookup"] == {
        "acc": pytest.approx(5 / 6),
        "acc_in_kb": pytest.approx(1.0),
    }
    assert "exact lookup" in output


def test_evaluate_with_a_knowledge_base_that_counted_mentions(run, evaluate, files, tmp_path):
    kb = tmp_path / "counted.kb"
    run("kb", "build", kb, files.vocabulary, "--mentions", files.train)
    metrics, _ = evaluate(files.listener, files.dev, "--kb", kb)
    assert metrics["seen_name"]["n"] == 3
    assert metrics["seen_entity"]["n"] == 4
    assert FaissKnowledgeBase.from_disk(kb).vectors is not None


def test_evaluate_reads_both_kinds_of_corpus_alike(run, evaluate, files, tmp_path):
    corpus = tmp_path / "dev.spacy"
    run("convert", files.dev, corpus)
    times = ("mentions_per_second", "linking_mentions_per_second", "corpus")
    results = [evaluate(files.fresh, path)[0] for path in (files.dev, corpus)]
    first, second = (
        {key: value for key, value in metrics.items() if key not in times} for metrics in results
    )
    assert first == second


def test_evaluate_takes_a_limit_and_a_depth(evaluate, files):
    metrics, _ = evaluate(files.fresh, files.dev, "--limit", 1, "--batch-size", 1, "--top-k", 5)
    assert metrics["documents"] == 1
    assert metrics["mentions"] == 4
    assert "recall_at_5" in metrics
    assert "recall_at_64" not in metrics


def test_evaluate_with_predicted_entities(evaluate, files):
    # The pipeline's entity ruler knows "cold" and "heart attack" only.
    metrics, _ = evaluate(files.fresh, files.dev, "--use-predicted-ents")
    assert metrics["mentions"] == 6
    assert metrics["recall_at_64"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("name", "content"), [("meta.json", '{"lang":'), ("meta.json", "[]"), ("config.cfg", "[nlp")]
)
def test_evaluate_a_broken_pipeline(fails, files, tmp_path, name, content):
    shutil.copytree(files.no_linker, tmp_path / "broken")
    (tmp_path / "broken" / name).write_text(content, encoding="utf8")
    fails("E301", "evaluate", tmp_path / "broken", files.dev)


def test_evaluate_a_pipeline_with_a_setting_out_of_range(fails, files, tmp_path):
    shutil.copytree(files.fresh, tmp_path / "broken")
    config = spacy.util.load_config(files.fresh / "config.cfg")
    config["components"][LINKER]["model"]["context_share"] = 1.0
    config.to_disk(tmp_path / "broken" / "config.cfg")
    fails("E011", "evaluate", tmp_path / "broken", files.dev)


def test_evaluate_errors(fails, files, tmp_path):
    fails("E103", "evaluate", files.fresh, tmp_path / "no_such.pubtator")
    fails("E103", "evaluate", files.fresh, files.dev, "--train", tmp_path / "no_such.spacy")
    fails("E305", "evaluate", files.fresh, files.vocabulary)
    fails("E301", "evaluate", tmp_path / "no_such_pipeline", files.dev)
    fails("E303", "evaluate", files.no_linker, files.dev)
    fails("E001", "evaluate", files.listener, files.dev)
    fails("E132", "evaluate", files.listener, files.dev, "--kb", tmp_path)


def test_a_corpus_without_linked_mentions(fails, files, tmp_path):
    corpus = tmp_path / "nil.pubtator"
    corpus.write_text("1|t|A cold.\n1\t2\t6\tcold\tT047\t-1\n", encoding="utf8")
    fails("E310", "evaluate", files.fresh, corpus)
    empty = tmp_path / "empty.spacy"
    DocBin().to_disk(empty)
    fails("E310", "evaluate", files.fresh, empty)


@pytest.mark.parametrize("content", [b"", b"no docbin", b"x\x9cK\xcc\x03\x00\x01\xc3\x00\xd0"])
def test_a_file_that_is_no_docbin(fails, files, tmp_path, content):
    corpus = tmp_path / "broken.spacy"
    corpus.write_bytes(content)
    fails("E306", "evaluate", files.fresh, corpus)
