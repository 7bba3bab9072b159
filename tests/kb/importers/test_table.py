import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers.options import ReadOptions
from spacy_metric_el.kb.importers.table import FIELDS, read_table

from ...util import write_file as write

TABLE = """concept_id,canonical_name,aliases,types,definition,more
C1,Fever,Pyrexia|High temperature,T184,Hot.,x
C2,"Cough, dry",,T184|T047,,
"""
CONCEPTS = [
    ("C1", "Fever", ["Fever", "Pyrexia", "High temperature"], ["T184"], "Hot."),
    ("C2", "Cough, dry", ["Cough, dry"], ["T184", "T047"], None),
]


def read(path, text, **columns):
    return list(read_table(write(path, text), ReadOptions(columns=columns)))


def raised(path, text, **columns):
    with pytest.raises(MetricELError, match=path.name) as caught:
        read(path, text, **columns)
    return caught.value.code, str(caught.value)


def read_or_code(path, columns):
    try:
        return list(read_table(path, ReadOptions(columns=columns))), ""
    except MetricELError as error:
        return [], error.code


@pytest.mark.parametrize("name", ["kb.csv", "kb.csv.gz", "KB.CSV", "kb.txt", "kb"])
def test_a_row_is_a_concept(tmp_path, name):
    assert read(tmp_path / name, TABLE) == CONCEPTS


def test_byte_order_mark_windows_line_ends_and_blank_lines(tmp_path):
    text = "\ufeff\n" + TABLE.replace("\n", "\r\n\r\n") + "  \n"
    assert read(tmp_path / "kb.csv", text) == CONCEPTS


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("kb.tsv", "\t"), ("kb.tab", "\t"), ("kb.tsv.gz", "\t"), ("kb", "\t"), ("kb.txt", ";")],
)
def test_other_delimiters(tmp_path, name, delimiter):
    text = f"id{delimiter}label\nC1{delimiter}a, b | c\n"
    found = read(tmp_path / name, text, concept_id="id", canonical_name="label")
    assert found == [("C1", "a, b | c", ["a, b | c"], [], None)]


@pytest.mark.parametrize(
    ("field", "heading"), [(field, heading) for field in FIELDS for heading in FIELDS[field]]
)
def test_usual_headings(tmp_path, field, heading):
    cells = dict.fromkeys(["concept_id", "canonical_name"], "A") | {field: "A"}
    headings = [heading if key == field else key for key in cells]
    heading_line = ",".join(headings).upper().replace("_", " ")
    (entity,) = read(tmp_path / "kb.csv", f"{heading_line}\n{','.join(cells.values())}\n")
    expected = Entity("A", "A", ["A"])
    if field in ("types", "definition"):
        expected = expected._replace(**{field: ["A"] if field == "types" else "A"})
    assert entity == expected


def test_the_first_of_several_usual_headings_counts(tmp_path):
    text = "code,cui,label,canonical_name\nx,C1,y,Fever\n"
    assert read(tmp_path / "kb.csv", text) == [("C1", "Fever", ["Fever"], [], None)]


def test_names_in_rows_are_grouped_while_they_follow_each_other(tmp_path):
    text = (
        "cui,string,tui,def\nC1,Fever,T1,\nC1 ,Pyrexia,T2,Hot.\n\nC1,Fever,,No.\nC2,a|b,,\nC1,x,,\n"
    )
    assert read(tmp_path / "kb.csv", text) == [
        ("C1", "Fever", ["Fever", "Pyrexia"], ["T1", "T2"], "Hot."),
        ("C2", "a|b", ["a|b"], [], None),
        ("C1", "x", ["x"], [], None),
    ]


def test_the_canonical_name_goes_before_other_names_of_the_rows(tmp_path):
    text = "id,label,name\nC1,,Pyrexia\nC1,Fever,Heat\n"
    assert read(tmp_path / "kb.csv", text)[0].aliases == ["Fever", "Pyrexia", "Heat"]


def test_a_map_says_what_to_read(tmp_path):
    text = "Class ID,Term,Name,id\nC1,Fever,Pyrexia,x\n"
    columns = {"concept_id": "class-id", "canonical_name": "2", "aliases": "Name"}
    expected = [("C1", "Fever", ["Fever", "Pyrexia"], [], None)]
    assert read(tmp_path / "kb.csv", text, **columns) == expected


def test_numbers_alone_mean_that_there_are_no_headings(tmp_path):
    text = "Fever;C1\nCough;C2\n"
    found = read(tmp_path / "kb", text, concept_id="2", name="1")
    assert [(entity.concept_id, entity.canonical_name) for entity in found] == [
        ("C1", "Fever"),
        ("C2", "Cough"),
    ]


def test_a_heading_that_is_a_number_is_a_heading_first(tmp_path):
    found = read(tmp_path / "kb.csv", "id,2,1\nC1,a,b\n", concept_id="id", name="1")
    assert found[0].canonical_name == "b"


def test_quoted_cells_hold_lines_and_quotes(tmp_path):
    text = 'id,name,definition\nC1,"a ""b""","one\n\ntwo"\nC2\n'
    code, message = raised(tmp_path / "kb.csv", text)
    assert (code, "kb.csv, line 5" in message) == ("E117", True)
    (entity,) = read(tmp_path / "kb.csv", text.removesuffix("C2\n"))
    assert entity == ("C1", 'a "b"', ['a "b"'], [], "one\n\ntwo")


@pytest.mark.parametrize("cells", ["C2", "C2,b,c"])
def test_a_row_with_other_cells_than_the_first_names_the_line(tmp_path, cells):
    code, message = raised(tmp_path / "kb.csv", f"id,name\nC1,a\n\n{cells}\n")
    assert code == "E117"
    assert f"kb.csv, line 4: not a row of this table (found {cells.count(',') + 1}" in message
    assert "expected 2" in message


@pytest.mark.parametrize("row", ['C2,"b\nC3,c\n', 'C2,"b"c\n', "C2,b\0\n", "C2,b\rC3,c\n"])
def test_a_row_that_is_not_csv_names_the_line(tmp_path, row):
    code, message = raised(tmp_path / "kb.csv", f"id,name\nC1,a\n{row}")
    assert code == "E117"
    assert "kb.csv, line 3" in message


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, "ids of concepts"),
        ({"concept_id": "a"}, "no column is known to have names"),
        ({"concept_id": "a", "name": "z"}, "no column 'z'"),
        ({"concept_id": "a", "name": "4"}, "no column '4'"),
        ({"concept_id": "a", "name": "0"}, "no column '0'"),
        ({"concept_id": "a", "name": "b"}, "2 columns 'b'"),
        ({"concept_id": "a", "cui": "b"}, "'cui' is not a field"),
    ],
)
def test_a_column_that_is_not_there_lists_those_that_are(tmp_path, columns, problem):
    code, message = raised(tmp_path / "kb.csv", "a,b,B\nC1,x,y\n", **columns)
    assert code == "E118"
    assert problem in message
    assert "Columns of this file: a, b, B." in message


def test_a_number_beyond_the_row_is_refused(tmp_path):
    code, message = raised(tmp_path / "kb.csv", "C1,x\n", concept_id="1", name="3")
    assert code == "E118"
    assert "2, without headings" in message


def test_the_usual_headings_need_names(tmp_path):
    assert raised(tmp_path / "kb.csv", "id,definition\nC1,x\n")[0] == "E118"


@pytest.mark.parametrize(("row", "missing"), [(" ,a,b", "id"), ("C2, ,|", "name"), (",,", "id")])
def test_a_row_without_id_or_name_names_the_line(tmp_path, row, missing):
    code, message = raised(tmp_path / "kb.csv", f"id,label,synonyms\nC1,a,\n{row}\n")
    assert code == "E119"
    assert f"kb.csv, line 3: the row has no {missing}" in message


@pytest.mark.parametrize("text", ["", "\n", "id,name\n"])
def test_a_table_without_rows_is_refused(tmp_path, text):
    assert raised(tmp_path / "kb.csv", text)[0] == "E111"


def test_unreadable_files_have_their_codes(tmp_path):
    code, message = raised(tmp_path / "kb.csv", b"id,name\nC1,\xff\n")
    assert (code, "line 2" in message) == ("E105", True)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(TABLE.encode())[:-9])
    with pytest.raises(MetricELError, match=r"E109.*cut\.csv\.gz"):
        list(read_table(tmp_path / "cut.csv.gz"))
    with pytest.raises(MetricELError, match=r"E103.*none\.csv"):
        list(read_table(tmp_path / "none.csv"))


def test_rows_stream_up_to_the_bad_line(tmp_path):
    rows = read_table(write(tmp_path / "kb.csv", TABLE + "bad\n"))
    assert next(rows) == CONCEPTS[0]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
special = st.text(' a"|,;\t\n\r')
cells = texts | special
filled = cells.filter(str.strip)
ids = st.sampled_from(["C1", " C1", "C2", '"C,3"', "C\n4"])
rows_of_cells = st.lists(st.tuples(ids, filled, cells, cells, cells), min_size=1)


@given(rows_of_cells, st.sampled_from([("kb.csv", ","), ("kb.tsv", "\t"), ("kb", ";")]))
def test_tables_written_by_csv_are_read_as_by_a_naive_reader(tmp_path_factory, rows, kind):
    name, delimiter = kind
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["id", "label", "aliases", "types", "definition"], *rows])
    found = read(tmp_path_factory.mktemp("any") / name, file.getvalue())
    expected = []
    for concept_id, label, aliases, types, definition in rows:
        definition = definition.replace("\r\n", "\n").strip()
        names, kinds = [label, *aliases.split("|")], types.split("|")
        if expected and expected[-1].concept_id == concept_id.strip():
            last = expected.pop()
            names, kinds = [*last.aliases, *names], [*last.types, *kinds]
            definition = last.definition or definition
        expected.append(clean_entity(Entity(concept_id, names[0], names, kinds, definition)))
    assert found == expected


@given(st.binary() | special.map(str.encode))
def test_any_bytes_give_records_or_a_coded_error(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp("any") / "kb", data)
    for columns in ({}, {"concept_id": "1", "name": "2"}, {"concept_id": "1", "name": "1"}):
        found, code = read_or_code(path, columns)
        assert found or code in ("E105", "E111", "E117", "E118", "E119")
        assert found == [clean_entity(entity) for entity in found]
