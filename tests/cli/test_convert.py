"""`convert`."""

import gzip

import spacy
from spacy.tokens import DocBin


def read(path):
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


def test_convert_writes_documents_and_counts(run, files, tmp_path):
    output = tmp_path / "new" / "both.spacy"
    result = run("convert", files.train, files.dev, output)
    assert result.exit_code == 0
    assert [doc.user_data["doc_id"] for doc in read(output)] == ["10", "11", "20", "21"]
    rows = dict(line.rsplit(maxsplit=1) for line in result.output.splitlines() if "  " in line)
    assert rows["Mentions"] == "12"
    assert rows["Without a concept id"] == "1"
    assert rows["Overlapping a longer one"] == "4"
    assert "Wrote" in result.output
    assert str(output) in result.output
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_convert_reads_gzip_and_uses_a_models_tokenizer(run, files, tmp_path):
    source, output = tmp_path / "dev.txt.gz", tmp_path / "dev.spacy"
    source.write_bytes(gzip.compress(files.dev.read_bytes()))
    assert run("convert", source, output, "--model", files.no_linker).exit_code == 0
    assert len(read(output)) == 2


def test_convert_errors(fails, files, tmp_path):
    output = tmp_path / "out.spacy"
    fails("E103", "convert", files.train, tmp_path / "no_such.pubtator", output)
    fails("E305", "convert", files.train, tmp_path / "out.json")
    fails("E305", "convert", files.vocabulary, output)
    fails("E304", "convert", files.train, output, "--lang", "qq")
    fails("E301", "convert", files.train, output, "--model", "no_such_pipeline")
    broken = tmp_path / "broken.pubtator"
    broken.write_text("no pubtator\n", encoding="utf8")
    fails("E201", "convert", broken, output)
    assert not output.exists()
