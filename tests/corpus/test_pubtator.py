import gzip
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.corpus.pubtator import (
    PubTatorDocument,
    PubTatorMention,
    parse_concept_ids,
    read_pubtator,
)
from spacy_metric_el.errors import MetricELError

DATA = Path(__file__).parents[3] / "shared" / "data"

TITLE, ABSTRACT = "1|t|Fever in mice.", "1|a|A high fever."
MENTION = "1\t17\t22\thigh \tSign\tC1"
FEVER = "1\t0\t5\tFever\tSign\tUMLS:C0015967"
TEXT = "Fever in mice. A high fever."


def write(path, *lines, end="\n"):
    data = end.join([*lines, ""]).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def raised(path, *lines):
    with pytest.raises(MetricELError) as caught:
        list(read_pubtator(write(path / "bad.pubtator", *lines)))
    assert "bad.pubtator" in str(caught.value)
    return caught.value


def read_or_code(path):
    try:
        return list(read_pubtator(path)), ""
    except MetricELError as error:
        return [], error.code


@pytest.mark.parametrize(("name", "end"), [("a.pubtator", "\n"), ("a.gz", "\n"), ("a.txt", "\r\n")])
def test_documents_mentions_and_ids(tmp_path, name, end):
    path = write(
        tmp_path / name,
        *("", TITLE, ABSTRACT, FEVER),
        "1\t9\t13\tmice\tAnimal\tMESH:D051379|OMIM:1\tmi|ce",
        "1\t22\t27\tfever\tSign\t-1",
        "1\tCID\tC1\tC2",
        "1\tAssociation\t12\t34\tNovel",
        "1\tAssociation\tD12\t34\tother",
        *("", "", "2|t|Café ☕"),
        "2\t5\t6\t☕\tDrink",
        end=end,
    )
    assert list(read_pubtator(path)) == [
        PubTatorDocument(
            "1",
            TEXT,
            (
                PubTatorMention(0, 5, "Fever", "Sign", ("C0015967",)),
                PubTatorMention(9, 13, "mice", "Animal", ("D051379", "OMIM:1")),
                PubTatorMention(22, 27, "fever", "Sign", ()),
            ),
        ),
        PubTatorDocument("2", "Café ☕", (PubTatorMention(5, 6, "☕", "Drink", ()),)),
    ]


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        ("D1", ("D1",)),
        (" D1+D2|D1", ("D1", "D2")),
        ("D1;D2,D3", ("D1", "D2", "D3")),
        ("MeSH:D1|UMLS:C1|OMIM:106210 ", ("D1", "C1", "OMIM:106210")),
        ("-1|D1", ("D1",)),
        ("", ()),
        ("-1", ()),
        ("-", ()),
    ],
)
def test_parse_concept_ids(column, ids):
    assert parse_concept_ids(column) == ids


def test_unusual_line_separators_stay_in_the_text(tmp_path):
    path = write(tmp_path / "a", "1|t|a\x85b\u2028c\x0bd\re", "1|a|x|t|y\tz")
    assert next(read_pubtator(path)).text == "a\x85b\u2028c\x0bd\re x|t|y\tz"


def test_blanked_quotation_marks_are_allowed(tmp_path):
    path = write(tmp_path / "a", '1|t|seizures "plus"', "1\t0\t15\tseizures  plus \tDisease\tD1")
    assert next(read_pubtator(path)).mentions[0].text == 'seizures "plus"'


@pytest.mark.parametrize(
    ("code", "line", "lines"),
    [
        ("E201", 2, [TITLE, "what is this"]),
        ("E201", 2, [TITLE, "1\t0\t5\tFever"]),
        ("E201", 2, [TITLE, FEVER + "\tx\ty"]),
        ("E202", 3, [TITLE, ABSTRACT, FEVER.replace("\t5\t", "\tfive\t")]),
        ("E202", 3, [TITLE, ABSTRACT, FEVER.replace("\t0\t", "\t-1\t")]),
        ("E201", 2, [TITLE, "1\t-1\t5\tFever"]),
        ("E202", 2, [TITLE, "1\t-1\t5\tFever\tSign"]),
        ("E202", 2, [TITLE, "1\t+0\t5\tFever\tSign"]),
        ("E202", 2, [TITLE, "1\tzero\t5\tFever\tSign"]),
        ("E202", 2, [TITLE, "1\t0\tfive\tFever\tSign"]),
        ("E202", 2, [TITLE, "1\t0\t1234567890\tFever\tSign"]),
        ("E203", 3, [TITLE, ABSTRACT, FEVER.replace("\t0\t", "\t5\t")]),
        ("E203", 3, [TITLE, ABSTRACT, FEVER.replace("\t5\t", "\t99\t")]),
        ("E203", 1 + 1, [TITLE, "1\t10\t20\tmice. A hi\tSign\tC1"]),
        ("E204", 3, [TITLE, ABSTRACT, FEVER.replace("Fever", "fever")]),
        ("E204", 3, [TITLE, ABSTRACT, FEVER.replace("Fever", "     ")]),
        ("E205", 1, [FEVER]),
        ("E205", 1, [ABSTRACT, TITLE]),
        ("E205", 1, ["1\tCID\tC1\tC2"]),
        ("E205", 4, [TITLE, ABSTRACT, "", FEVER]),
        ("E206", 2, [TITLE, TITLE]),
        ("E206", 3, [TITLE, ABSTRACT, ABSTRACT]),
        ("E207", 3, [TITLE, ABSTRACT, FEVER.replace("1", "2", 1)]),
        ("E207", 3, [TITLE, ABSTRACT, TITLE.replace("1", "2", 1)]),
        ("E208", 4, [TITLE, ABSTRACT, "", TITLE, FEVER]),
    ],
)
def test_errors_name_file_and_line(tmp_path, code, line, lines):
    error = raised(tmp_path, *lines)
    assert error.code == code
    assert f"bad.pubtator, line {line}:" in str(error)


def test_a_file_without_documents_is_refused(tmp_path):
    assert raised(tmp_path, "", "").code == "E209"


def test_a_missing_file_and_bad_utf8_are_refused(tmp_path):
    with pytest.raises(MetricELError) as caught:
        list(read_pubtator(tmp_path / "none"))
    assert caught.value.code == "E103"
    (tmp_path / "a").write_bytes(b"1|t|a\n1|a|\xff\n")
    with pytest.raises(MetricELError, match="line 2") as caught:
        list(read_pubtator(tmp_path / "a"))
    assert caught.value.code == "E105"


def test_a_document_that_comes_again_is_skipped_with_a_warning(tmp_path, caplog):
    path = write(tmp_path / "a", TITLE, ABSTRACT, FEVER, "", TITLE, ABSTRACT, FEVER)
    with caplog.at_level(logging.WARNING, logger="spacy_metric_el"):
        assert len(list(read_pubtator(path))) == 1
    assert "[W201]" in caplog.text
    assert "line 5: document '1'" in caplog.text


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"))
field = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t"))
pieces = st.sampled_from(
    [TITLE, ABSTRACT, FEVER, MENTION, "", "2|t|", "1\tCID\tC1\tC2", "\t" * 5, "|t|"]
)


@given(
    st.binary() | st.lists(pieces | plain, max_size=8).map(lambda lines: "\n".join(lines).encode())
)
def test_any_bytes_parse_or_raise_a_coded_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "a.pubtator"
    path.write_bytes(data)
    documents, code = read_or_code(path)
    assert documents or code
    for document in documents:
        for mention in document.mentions:
            assert document.text[mention.start : mention.end] == mention.text


@st.composite
def documents(draw):
    doc_ids = draw(
        st.lists(st.from_regex("[A-Z0-9]{1,9}", fullmatch=True), min_size=1, unique=True)
    )
    made = []
    for doc_id in doc_ids:
        title, abstract = draw(field), draw(field)
        text = f"{title} {abstract}" if abstract else title
        mentions = []
        for _ in range(draw(st.integers(0, 4)) if text else 0):
            start = draw(st.integers(0, len(text) - 1))
            end = draw(st.integers(start + 1, len(text)))
            ids = draw(
                st.lists(st.from_regex("C[0-9]{7}", fullmatch=True), unique=True, max_size=3)
            )
            label = draw(st.from_regex("T[0-9]{3}", fullmatch=True))
            mentions.append(PubTatorMention(start, end, text[start:end], label, tuple(ids)))
        made.append((title, abstract, PubTatorDocument(doc_id, text, tuple(mentions))))
    return made


@given(documents())
def test_round_trip(tmp_path_factory, made):
    lines = []
    for title, abstract, document in made:
        doc_id = document.doc_id
        lines += [f"{doc_id}|t|{title}", f"{doc_id}|a|{abstract}"]
        for m in document.mentions:
            ids = "|".join(m.concept_ids) or "-1"
            lines.append(f"{doc_id}\t{m.start}\t{m.end}\t{m.text}\t{m.label}\t{ids}")
        lines.append("")
    path = write(tmp_path_factory.mktemp("any") / "a.pubtator", *lines)
    assert list(read_pubtator(path)) == [document for _, _, document in made]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared development data")
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("medmentions/train", (2635, 121_984)),
        ("medmentions/dev", (289, 13_323)),
        ("bc5cdr/train", (500, 9385)),
        ("bc5cdr/dev", (500, 9591)),
        ("ncbi_disease/train", (592, 5134)),
        ("ncbi_disease/dev", (100, 787)),
    ],
)
def test_real_corpora(name, counts):
    made = list(read_pubtator(DATA / f"{name}.pubtator"))
    assert (len(made), sum(len(document.mentions) for document in made)) == counts
