"""`kb build`, `kb info` and `kb search`."""

import json
import shutil

import numpy as np
import pytest

from spacy_metric_el.kb import FaissKnowledgeBase

from ..util import VOCABULARY, make_nlp, write_jsonl


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "built.kb"


@pytest.fixture
def encoded(files, output):
    """A knowledge base with vectors of the pipeline that listens."""
    shutil.copytree(files.listener_kb, output)
    return output


def left_behind(output):
    """RETURNS (list[str]): What there is beside the folder that was asked for."""
    return [path.name for path in output.parent.glob("*")] if output.parent.exists() else []


# --- build ---

MRCONSO = """\
C0000001|ENG|P|L1|PF|S1|Y|A1||M1|D1|MSH|MH|D1|Fever|0|N||
C0000001|ENG|S|L2|PF|S2|Y|A2||M1|D1|MSH|ET|D1|Pyrexia|0|N||
C0000001|GER|P|L3|PF|S3|Y|A3||M1|D1|MSHGER|MH|D1|Fieber|0|N||
C0000002|ENG|P|L4|PF|S4|Y|A4||M2|D2|XYZ|PT|D2|Zeal|0|N||
C0000003|ENG|P|L5|PF|S5|Y|A5||M3|D3|MSH|MH|D3|Envy|0|O||
"""
MRSTY = """\
C0000001|T184|A2.2.2|Sign or Symptom|AT1||
C0000002|T041|B2.2.1.1.1.1|Mental Process|AT2||
C0000003|T041|B2.2.1.1.1.1|Mental Process|AT3||
"""


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "2024AA" / "META"
    folder.mkdir(parents=True)
    (folder / "MRCONSO.RRF").write_text(MRCONSO, encoding="utf8")
    (folder / "MRSTY.RRF").write_text(MRSTY, encoding="utf8")
    return folder.parent


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"C0000001": {"Fever", "Pyrexia"}, "C0000002": {"Zeal"}}),
        (["--lang", "GER"], {"C0000001": {"Fieber"}}),
        (["--lang", "all", "--sources", "MSHGER"], {"C0000001": {"Fieber"}}),
        (["--semantic-types", "T033"], {"C0000001": {"Fever", "Pyrexia"}}),
        (
            ["--semantic-types", "T041", "--suppressed"],
            {"C0000002": {"Zeal"}, "C0000003": {"Envy"}},
        ),
        (["--preset", "st21pv"], {"C0000001": {"Fever", "Pyrexia"}}),
    ],
)
def test_build_reads_a_release_of_the_umls(run, release, output, options, expected):
    result = run("kb", "build", output, release, *options)
    assert result.exit_code == 0, result.output
    kb = FaissKnowledgeBase.from_disk(output)
    assert {entity.concept_id: set(entity.aliases) for entity in kb.entities()} == expected
    (source,) = kb.meta["sources"]
    assert source["name"] == release.name
    assert [file["name"] for file in source["files"]] == ["MRCONSO.RRF", "MRSTY.RRF"]


def test_build_reads_the_columns_it_is_told(run, output, tmp_path):
    source = tmp_path / "codes.csv"
    source.write_text("CODE,TERM\nX1,fever\nX1,pyrexia\nX2,cough\n", encoding="utf8")
    columns = ["--columns", "concept_id=CODE", "--columns", "name=TERM"]
    assert run("kb", "build", output, source, *columns).exit_code == 0
    assert FaissKnowledgeBase.from_disk(output)["X1"].aliases == ["fever", "pyrexia"]


@pytest.mark.parametrize(
    "options", [["--preset", "st21"], ["--columns", "CODE"], ["--columns", "code=CODE"]]
)
def test_build_refuses_values_that_it_does_not_know(run, files, output, options):
    result = run("kb", "build", output, files.vocabulary, *options)
    assert result.exit_code == 1
    assert "E313" in result.output
    assert left_behind(output) == []


def test_build_makes_a_knowledge_base(run, files, output):
    result = run("kb", "build", output, files.vocabulary)
    assert result.exit_code == 0
    assert "Built" in result.output
    assert str(output) in result.output
    assert "none: no pipeline has encoded the names yet" in result.output
    kb = FaissKnowledgeBase.from_disk(output)
    assert list(kb) == [entity.concept_id for entity in VOCABULARY]
    assert kb.vectors is None
    (source,) = kb.meta["sources"]
    assert source["name"] == files.vocabulary.name
    assert source["bytes"] == files.vocabulary.stat().st_size
    assert len(source["sha256"]) == 64
    assert kb.meta["version"]
    assert str(files.vocabulary.parent) not in (output / "manifest.json").read_text("utf8")
    assert left_behind(output) == [output.name]


def test_build_merges_sources(run, files, output, tmp_path):
    other = tmp_path / "other.jsonl"
    write_jsonl(other, [VOCABULARY[4]._replace(canonical_name="Aspro", aliases=[])])
    assert run("kb", "build", output, files.vocabulary, other).exit_code == 0
    kb = FaissKnowledgeBase.from_disk(output)
    assert len(kb) == len(VOCABULARY)
    assert kb["C05"].canonical_name == "aspirin"
    assert "Aspro" in kb["C05"].aliases


def test_build_reads_the_format_it_is_told(run, files, output, tmp_path):
    odd = tmp_path / "vocabulary.bin"
    shutil.copy(files.vocabulary, odd)
    assert run("kb", "build", output, odd, "--format", "jsonl").exit_code == 0


def test_build_takes_own_ids_with_an_empty_prefix(run, output, tmp_path):
    source = tmp_path / "small.obo"
    source.write_text("format-version: 1.2\n\n[Term]\nid: HP:1\nname: fever\n", encoding="utf8")
    assert run("kb", "build", output, source, "--id-prefix", "").exit_code == 0
    assert list(FaissKnowledgeBase.from_disk(output)) == ["HP:1"]


@pytest.mark.parametrize("as_docbin", [False, True], ids=["pubtator", "docbin"])
def test_build_counts_mentions(run, files, output, tmp_path, as_docbin):
    corpus = files.train
    if as_docbin:
        corpus = tmp_path / "train.spacy"
        run("convert", files.train, corpus)
    assert run("kb", "build", output, files.vocabulary, "--mentions", corpus).exit_code == 0
    kb = FaissKnowledgeBase.from_disk(output)
    assert dict(kb.lookup("cold"))["C03"] == pytest.approx(2.5 / 3)
    assert {concept for concept, _ in kb.lookup("fever and headache")} == {"C07", "C08"}
    assert kb["C77"].canonical_name == "zorblax"
    assert [source["name"] for source in kb.meta["mentions"]] == [corpus.name]
    assert kb.records.name_counts.sum() == 6


def test_build_with_a_model_encodes(run, files, output):
    assert run("kb", "build", output, files.vocabulary, "--model", files.listener).exit_code == 0
    kb = FaissKnowledgeBase.from_disk(output)
    assert kb.vectors.names.tolist() == list(range(kb.records.n_names))
    assert (
        kb.vectors.fingerprint
        == FaissKnowledgeBase.from_disk(files.listener_kb).vectors.fingerprint
    )
    assert left_behind(output) == [output.name]


def test_build_with_workers_encodes_the_same(run, files, output, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for path, workers in ((alone, 1), (together, 2)):
        options = ("--model", files.listener, "--workers", workers)
        assert run("kb", "build", path, files.vocabulary, *options).exit_code == 0
    kbs = [FaissKnowledgeBase.from_disk(path) for path in (alone, together)]
    rows = np.arange(kbs[0].vectors.n_rows)
    ours, theirs = (kb.vectors.decode(rows) for kb in kbs)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert kbs[0].vectors.fingerprint == kbs[1].vectors.fingerprint


def test_build_replaces_a_knowledge_base(run, files, encoded):
    assert run("kb", "build", encoded, files.vocabulary).exit_code == 0
    assert FaissKnowledgeBase.from_disk(encoded).vectors is None


def test_build_replaces_nothing_else(run, fails, files, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf8")
    fails("E138", "kb", "build", tmp_path, files.vocabulary)
    fails("E138", "kb", "build", tmp_path / "notes.txt", files.vocabulary)
    assert (tmp_path / "notes.txt").read_text(encoding="utf8") == "mine"


def test_build_that_fails_leaves_what_was_there(fails, files, encoded, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"concept_id": "C1"\n', encoding="utf8")
    before = sorted(path.name for path in encoded.rglob("*"))
    fails("E101", "kb", "build", encoded, files.vocabulary, broken)
    assert sorted(path.name for path in encoded.rglob("*")) == before
    assert left_behind(encoded) == [encoded.name]


def test_build_that_fails_while_encoding_leaves_nothing(fails, files, output, tmp_path):
    # Never initialized: the component that the linker listens to has no width.
    nlp = make_nlp("listener")
    nlp.to_disk(tmp_path / "raw")
    fails("E004", "kb", "build", output, files.vocabulary, "--model", tmp_path / "raw")
    assert left_behind(output) == []


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("E301", ["--model", "no_such_pipeline"]),
        ("E303", ["--model", "{no_linker}"]),
        ("E103", ["--mentions", "no_such.pubtator"]),
        ("E305", ["--mentions", "{vocabulary}"]),
        ("E104", ["--format", "xls"]),
        ("E312", ["--gpu-id", "99"]),
    ],
)
def test_build_errors(fails, files, output, code, options):
    options = [option.format(**vars(files)) for option in options]
    fails(code, "kb", "build", output, files.vocabulary, *options)
    assert left_behind(output) == []


def test_build_without_a_source(fails, files, output, tmp_path):
    fails("E103", "kb", "build", output, files.vocabulary, tmp_path / "no_such.obo")


def test_what_the_file_system_refuses_is_one_line_too(fails, files):
    blocked = files.vocabulary / "built.kb"
    fails("E302", "kb", "build", blocked, files.vocabulary)


# --- info ---


def test_info_shows_a_table(run, encoded):
    result = run("kb", "info", encoded)
    assert result.exit_code == 0
    fingerprint = FaissKnowledgeBase.from_disk(encoded).vectors.fingerprint
    for text in ("Concepts", "Flat, ", fingerprint, "index.faiss"):
        assert text in result.output


def test_an_index_that_was_asked_for_stays(run, files, output, tmp_path):
    asked = "IVF2,PQ4x4fs,Refine(SQ8)"
    args = (files.vocabulary, "--model", files.listener, "--index", asked)
    assert run("kb", "build", output, *args).exit_code == 0
    assert asked in run("kb", "info", output).output
    summary = json.loads(run("kb", "info", output, "--json").stdout)
    assert summary["vectors"]["index"] == asked
    assert summary["vectors"]["search"] == {"probes": 1, "k_factor": 4.0}
    assert f"{summary['manifest']['vectors']}/refine.faiss" in summary["files"]
    fewer = tmp_path / "fewer.kb"
    assert run("kb", "remove", output, "C01", "--output", fewer).exit_code == 0
    assert json.loads(run("kb", "info", fewer, "--json").stdout)["vectors"]["index"] == asked


def test_an_index_that_faiss_cannot_make(fails, files, output):
    args = (files.vocabulary, "--model", files.listener, "--index", "no such index")
    fails("E141", "kb", "build", output, *args)
    assert left_behind(output) == []


def test_info_as_json(run, files, encoded):
    summary = json.loads(run("kb", "info", encoded, "--json").stdout)
    assert summary["concepts"] == len(VOCABULARY)
    assert summary["names"] == 19
    assert summary["ambiguous_names"] == 3
    assert summary["definitions"] == 2
    assert summary["vectors"]["rows"] == 19
    assert summary["bytes"] == sum(summary["files"].values())
    assert summary["manifest"]["entities"] == len(VOCABULARY)


def test_info_of_concepts_says_who_gave_their_names(run, fails, files, output, tmp_path):
    more = tmp_path / "more.csv"
    more.write_text("concept_id,name\nC01,cardiac infarct\nC01,heart attack\n", encoding="utf8")
    run("kb", "build", output, files.vocabulary, more, "--mentions", files.train)
    found = json.loads(run("kb", "info", output, "C01", "C77", "--json").stdout)
    assert [concept["concept_id"] for concept in found] == ["C01", "C77"]
    assert found[0]["names"]["cardiac infarct"] == ["more.csv"]
    assert found[0]["names"]["heart attack"] == ["vocabulary.jsonl", "more.csv"]
    assert found[1]["names"] == {"zorblax": ["training mentions"]}
    shown = run("kb", "info", output, "C01").output
    for text in ("C01", "cardiac infarct", "vocabulary.jsonl, more.csv"):
        assert text in shown
    fails("E317", "kb", "info", output, "C01", "C404")


def test_info_without_vectors(run, files, output):
    run("kb", "build", output, files.vocabulary)
    assert json.loads(run("kb", "info", output, "--json").stdout)["vectors"] is None
    assert files.vocabulary.name in run("kb", "info", output).output


def test_info_finds_what_is_cut_short(fails, kb_folder):
    file = kb_folder / "names.arrow"
    file.write_bytes(file.read_bytes()[:-1])
    fails("E134", "kb", "info", kb_folder)


def test_info_of_no_knowledge_base(fails, tmp_path):
    fails("E132", "kb", "info", tmp_path)
    fails("E132", "kb", "info", tmp_path / "nowhere")


# --- search ---


def test_search_with_a_fresh_pipeline(run, kb_folder):
    result = run("kb", "search", kb_folder, "pyrexia", "colds", "--top-k", 2)
    assert result.exit_code == 0
    first, second = result.output.split(" colds ")
    assert "C08" in first
    assert "1.00" in first
    assert {"C03", "C04"} <= set(second.split())
    # The names are encoded once.
    (index,) = kb_folder.glob("vectors-*/index.faiss")
    before = index.stat().st_mtime_ns
    assert run("kb", "search", kb_folder, "pyrexia").exit_code == 0
    assert [path.name for path in kb_folder.glob("vectors*")] == [index.parent.name]
    assert index.stat().st_mtime_ns == before


def test_search_with_a_model(run, files, encoded):
    result = run("kb", "search", encoded, "heart attack", "--model", files.listener, "-k", 1)
    assert result.exit_code == 0
    assert "C01" in result.output
    assert "C02" not in result.output


def test_search_never_replaces_vectors(fails, files, encoded):
    before = {path: path.read_bytes() for path in encoded.rglob("manifest.json")}
    assert len(before) == 2
    fails("E308", "kb", "search", encoded, "fever")
    fails("E308", "kb", "search", encoded, "fever", "--model", files.other)
    assert {path: path.read_bytes() for path in encoded.rglob("manifest.json")} == before


def test_search_errors(fails, files, kb_folder, tmp_path):
    fails("E132", "kb", "search", tmp_path / "nowhere", "fever")
    fails("E307", "kb", "search", kb_folder, "fever", " ")
    fails("E303", "kb", "search", kb_folder, "fever", "--model", files.no_linker)
