"""Builds on a disk that is full: here, files that may grow only so far."""

import resource
import subprocess
import sys

import pytest

from spacy_metric_el.kb import Entity, FaissKnowledgeBase

from ..util import write_jsonl

LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv[0] = "spacy"
runpy.run_module("spacy", run_name="__main__")
"""

CONCEPTS = [Entity(f"C{i:03d}", f"disease number {i}", [f"the {i}th disease"]) for i in range(200)]


def build(output, *args, limit=resource.RLIM_INFINITY):
    command = [sys.executable, "-W", "ignore", "-c", LIMITED, str(limit)]
    command += ["metric-el", "kb", "build", str(output), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.jsonl"
    write_jsonl(path, CONCEPTS)
    return path


@pytest.fixture(scope="module")
def built(vocabulary, tmp_path_factory, pipeline):
    output = tmp_path_factory.mktemp("built") / "my.kb"
    ended = build(output, vocabulary, "--model", pipeline)
    assert ended.returncode == 0, ended.stderr
    return output


@pytest.fixture(scope="module")
def pipeline(files):
    return files.fresh


@pytest.mark.parametrize("name", ["names.arrow", "index.faiss", "rows.npz"])
def test_a_file_that_cannot_grow_ends_in_one_line_and_leaves_the_old(
    built, vocabulary, pipeline, tmp_path, name
):
    output = tmp_path / "my.kb"
    FaissKnowledgeBase.from_entities(CONCEPTS[:3]).to_disk(output)
    # All smaller files fit, and this one lacks a byte.
    (file,) = built.rglob(name)
    limit = file.stat().st_size - 1
    ended = build(output, vocabulary, "--model", pipeline, limit=limit)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("[E"), ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(FaissKnowledgeBase.from_disk(output)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["my.kb"]
