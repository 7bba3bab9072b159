"""Lines of text files, with errors that say where."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.lines import decode_lines, existing_file, first_line, open_binary, read_lines

from .util import write_file

TEXT = "one\ntwö\r\n\nfour"
NUMBERED = [(1, "one"), (2, "twö"), (3, ""), (4, "four")]


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
def test_lines_are_numbered_from_one(tmp_path, name):
    path = write_file(tmp_path / name, TEXT)
    assert list(read_lines(path)) == list(read_lines(str(path))) == NUMBERED


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
def test_a_file_is_opened_through_gzip_by_its_ending(tmp_path, name):
    with open_binary(write_file(tmp_path / name, TEXT)) as file:
        assert file.read() == TEXT.encode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))))
def test_nothing_else_ends_a_line(lines):
    """`str.splitlines` takes ten other characters for ends, which texts may hold."""
    raw = [f"{line}\n".encode() for line in ["first", *lines]]
    assert [line for _, line in decode_lines(raw, "file")] == ["first", *lines]


def test_a_byte_order_mark_is_dropped_from_the_first_line_alone():
    mark = "\ufeff"
    raw = [f"{mark}one\n".encode(), f"{mark}two".encode()]
    assert list(decode_lines(raw, "file")) == [(1, "one"), (2, f"{mark}two")]


def test_only_one_carriage_return_belongs_to_the_end():
    assert list(decode_lines([b"one\r\r\n", b"\rtwo"], "file")) == [(1, "one\r"), (2, "\rtwo")]


def test_lines_that_are_not_utf8_are_named():
    found = decode_lines([b"one\n", b"\xff\n"], "the file")
    assert next(found) == (1, "one")
    with pytest.raises(MetricELError, match=r"^\[E105\] .*the file, line 2"):
        next(found)


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(MetricELError, match=r"^\[E103\] "):
            existing_file(path)
    with pytest.raises(MetricELError, match=r"^\[E103\] .*none\.txt"):
        next(read_lines(tmp_path / "none.txt"))
    path = write_file(tmp_path / "some.txt", "")
    assert existing_file(str(path)) == path


@pytest.mark.parametrize("content", [b"no archive", gzip.compress(b"lines\n" * 1000)[:-12]])
def test_an_archive_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "lines.gz"
    path.write_bytes(content)
    with pytest.raises(MetricELError, match=r"^\[E109\] .*lines\.gz"):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("text", "line"), [("\n  \n two \nthree", " two "), ("", ""), ("\n\t\n", "")]
)
def test_first_line_that_is_not_blank(tmp_path, text, line):
    assert first_line(write_file(tmp_path / "lines.txt", text)) == line
