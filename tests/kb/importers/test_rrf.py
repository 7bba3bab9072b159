import gzip
import zipfile
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity, clean_entity
from spacy_metric_el.kb.importers.options import ReadOptions
from spacy_metric_el.kb.importers.rrf import read_rrf
from spacy_metric_el.kb.importers.semantic_types import (
    SEMANTIC_NETWORK,
    ST21PV_SOURCES,
    ST21PV_TYPES,
    narrower_types,
)


def conso(cui, text, source="MSH", tty="MH", lang="ENG", ts="P", stt="PF", pref="Y", suppress="N"):
    head = f"{cui}|{lang}|{ts}|L1|{stt}|S1|{pref}|A1|||D1|{source}|{tty}|D1|"
    return f"{head}{text}|0|{suppress}|256|"


def sty(cui, tui, number=None):
    number = SEMANTIC_NETWORK.get(tui, "") if number is None else number
    return f"{cui}|{tui}|{number}|Name|AT1||"


def definition(cui, text, source="MSH", suppress="N"):
    return f"{cui}|A1|AT1||{source}|{text}|{suppress}||"


def rank(number, source, tty):
    return f"{number:04}|{source}|{tty}|N|"


def sab(source, language):
    return f"C1|C2|{source}2024|{source}" + "|" * 16 + f"{language}|UTF-8|Y|Y|{source}||"


COMMON = {
    "MRCONSO": [
        conso("C0000001", "pyrexia", "NCI", "SY"),
        conso("C0000001", "Fever", "MSH", "MH", ts="S"),
        conso("C0000001", "Fieber", "MSHGER", "MH", lang="GER"),
        conso("C0000001", "Old fever", "MSH", "MH", suppress="O"),
        conso("C0000002", "Aspirin", "RXNORM", "IN"),
        conso("C0000003", "Neoplasm", "NCI", "PT"),
    ],
    "MRSTY": [
        sty("C0000001", "T184"),
        sty("C0000001", "T033"),
        sty("C0000002", "T109"),
        sty("C0000003", "T191"),
    ],
    "MRDEF": [definition("C0000001", "Too hot.", "NCI"), definition("C0000001", "Hot.", "MSH")],
    "MRRANK": [rank(9, "MSH", "MH"), rank(8, "NCI", "PT"), rank(7, "NCI", "SY")],
}
ENTITIES = [
    ("C0000001", "Fever", ["Fever", "pyrexia"], ["T033", "T184"], "Too hot."),
    ("C0000002", "Aspirin", ["Aspirin"], ["T109"], None),
    ("C0000003", "Neoplasm", ["Neoplasm"], ["T191"], None),
]


def make_files(tables):
    return {f"{name}.RRF": "".join(f"{line}\n" for line in lines) for name, lines in tables.items()}


def write_folder(folder, packed=False, **tables):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in make_files(tables).items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text, encoding="utf8", newline="")
    return folder


def write_zip(path, inside="", packed=False, **tables):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in make_files(tables).items():
            data = text.encode()
            if packed:
                name, data = f"{name}.gz", gzip.compress(data)
            archive.writestr(inside + name, data)
    return path


def read(folder, *lines, options=None, **tables):
    write_folder(folder, MRCONSO=lines, **tables)
    return list(read_rrf(folder, ReadOptions(**options or {})))


def raised(path, **options):
    with pytest.raises(MetricELError) as caught:
        list(read_rrf(path, ReadOptions(**options)))
    return caught.value


def read_or_code(path):
    try:
        return list(read_rrf(path)), ""
    except MetricELError as error:
        return [], error.code


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", ["", "META", "2024AA/META"])
def test_every_form_of_a_release_reads_the_same(tmp_path, inside, packed):
    folder = write_folder(tmp_path / "release" / inside, packed, **COMMON)
    archive = write_zip(tmp_path / "r.zip", f"a/{inside}/" if inside else "", packed, **COMMON)
    main = folder / ("MRCONSO.RRF.gz" if packed else "MRCONSO.RRF")
    for path in (tmp_path / "release", archive, main, str(main)):
        assert list(read_rrf(path)) == ENTITIES


def test_a_main_file_of_another_name_takes_the_tables_beside_it(tmp_path):
    write_folder(tmp_path, **COMMON).joinpath("MRCONSO.RRF").rename(tmp_path / "subset.txt")
    assert list(read_rrf(tmp_path / "subset.txt")) == ENTITIES


def test_main_table_alone_is_enough(tmp_path):
    entities = read(tmp_path, *COMMON["MRCONSO"])
    assert [entity.canonical_name for entity in entities] == ["pyrexia", "Aspirin", "Neoplasm"]
    assert all(not entity.types and entity.definition is None for entity in entities)


def test_carriage_returns_blank_lines_and_a_byte_order_mark_are_taken(tmp_path):
    text = "\ufeff" + "\r\n".join([*COMMON["MRCONSO"], "", ""])
    tmp_path.joinpath("MRCONSO.RRF").write_text(text, encoding="utf8", newline="")
    with zipfile.ZipFile(tmp_path / "kb.zip", "w") as archive:
        archive.writestr("MRCONSO.RRF", text.encode())
    entities = list(read_rrf(tmp_path))
    assert [entity.concept_id for entity in entities] == ["C0000001", "C0000002", "C0000003"]
    assert list(read_rrf(tmp_path / "kb.zip")) == entities


def test_names_are_ordered_by_rank_then_status_then_file(tmp_path):
    lines = [
        conso("C0000001", "unranked", "X", "Y"),
        conso("C0000001", "last", ts="S", stt="VO", pref="N"),
        conso("C0000001", "not preferred", pref="N"),
        conso("C0000001", "variant", stt="VO"),
        conso("C0000001", "other term", ts="S"),
        conso("C0000001", "first"),
        conso("C0000001", "also first"),
        conso("C0000001", "best", "NCI", "PT", ts="S", stt="VO", pref="N"),
        conso("C0000001", "first", ts="S"),
    ]
    ordered = ["best", "first", "also first", "not preferred", "variant", "other term", "last"]
    ranks = [rank(10, "NCI", "PT"), rank(9, "MSH", "MH")]
    assert read(tmp_path, *lines, MRRANK=ranks)[0].aliases == [*ordered, "unranked"]


def test_status_orders_names_without_ranks(tmp_path):
    lines = [conso("C0000001", "b", ts="S"), conso("C0000001", "a"), conso("C0000001", "c")]
    assert read(tmp_path, *lines)[0].aliases == ["a", "c", "b"]


def test_a_concept_whose_lines_are_apart_comes_in_parts(tmp_path):
    lines = [conso("C0000001", "a"), conso("C0000002", "b"), conso("C0000001", "c")]
    found = [(entity.concept_id, entity.aliases) for entity in read(tmp_path, *lines)]
    assert found == [("C0000001", ["a"]), ("C0000002", ["b"]), ("C0000001", ["c"])]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["pyrexia", "Fever", "Aspirin", "Neoplasm"]),
        ({"languages": frozenset({"GER"})}, ["Fieber"]),
        ({"languages": frozenset()}, ["pyrexia", "Fever", "Fieber", "Aspirin", "Neoplasm"]),
        ({"sources": frozenset({"NCI"})}, ["pyrexia", "Neoplasm"]),
        ({"suppressed": True}, ["pyrexia", "Fever", "Old fever", "Aspirin", "Neoplasm"]),
        ({"semantic_types": frozenset({"T184"})}, ["pyrexia", "Fever"]),
        ({"semantic_types": frozenset({"T033"})}, ["pyrexia", "Fever"]),
        ({"semantic_types": frozenset({"T047"})}, ["Neoplasm"]),
        ({"semantic_types": frozenset({"T103", "T191"})}, ["Aspirin", "Neoplasm"]),
        ({"semantic_types": frozenset({"T071"})}, ["pyrexia", "Fever", "Aspirin"]),
        (
            {"semantic_types": ST21PV_TYPES, "sources": ST21PV_SOURCES},
            ["pyrexia", "Fever", "Aspirin", "Neoplasm"],
        ),
    ],
)
def test_filters(tmp_path, options, names):
    tables = {**COMMON, "MRRANK": []}
    entities = read_rrf(write_folder(tmp_path, **tables), ReadOptions(**options))
    assert sorted(name for entity in entities for name in entity.aliases) == sorted(names)


@pytest.mark.parametrize("mark", ["O", "Y", "E"])
def test_every_mark_of_suppression_counts(tmp_path, mark):
    lines = [conso("C0000001", "a", suppress=mark), conso("C0000001", "b")]
    assert read(tmp_path, *lines)[0].aliases == ["b"]


def test_empty_names_are_skipped(tmp_path):
    assert len(read(tmp_path, conso("C0000001", " "), conso("C0000002", "a"))) == 1


def test_types_of_a_table_out_of_order_are_found(tmp_path):
    types = [sty("C0000003", "T047"), sty("C0000001", "T184"), sty("C0000003", "T033")]
    types.append(sty("C0000003", "T047"))
    lines = [conso(f"C000000{number}", "a") for number in (1, 2, 3)]
    entities = read(tmp_path, *lines, MRSTY=types)
    assert [entity.types for entity in entities] == [["T184"], [], ["T033", "T047"]]


def test_concepts_of_the_nci_metathesaurus_have_two_letters(tmp_path):
    lines, types = [conso("CL1378301", "a")], [sty("CL1378301", "T047")]
    assert read(tmp_path, *lines, MRSTY=types)[0].types == ["T047"]


def test_the_tree_numbers_of_the_release_count_too(tmp_path):
    # Lipid and Steroid have left the network, and Plant has moved within it.
    types = [
        sty("C0000001", "T119", "A1.4.1.2.1.9"),
        sty("C0000002", "T110", "A1.4.1.2.1.9.1"),
        sty("C0000003", "T002", "A1.1.1"),
    ]
    lines = [conso(f"C000000{number}", "a") for number in (1, 2, 3)]
    wanted = {"T119": [1, 2], "T110": [2], "T204": [3], "T001": [3]}
    for tui, numbers in wanted.items():
        options = {"semantic_types": frozenset({tui})}
        entities = read(tmp_path, *lines, MRSTY=types, options=options)
        assert [entity.concept_id for entity in entities] == [f"C000000{n}" for n in numbers]


def test_types_without_tree_numbers_stand_for_themselves(tmp_path):
    types = [sty("C0000001", "T900", ""), sty("C0000002", "T901", "")]
    lines = [conso("C0000001", "a"), conso("C0000002", "b")]
    options = {"semantic_types": frozenset({"T900"})}
    assert len(read(tmp_path, *lines, MRSTY=types, options=options)) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "First."),
        ({"sources": frozenset({"NCI", "X"})}, "Wanted."),
        ({"sources": frozenset({"X"})}, "First."),
        ({"languages": frozenset({"CZE", "ENG"})}, "Horečka."),
        ({"languages": frozenset()}, "Horečka."),
        ({"suppressed": True}, "First."),
    ],
)
def test_definitions(tmp_path, options, text):
    definitions = [
        definition("C0000001", "Gone.", suppress="O"),
        definition("C0000001", " "),
        definition("C0000001", "Horečka.", "MSHCZE"),
        definition("C0000001", "First.", "UNKNOWN"),
        definition("C0000001", "Wanted.", "NCI"),
    ]
    sources = [sab("MSHCZE", "CZE"), sab("NCI", "ENG")]
    lines = [conso("C0000001", "a", "X")]
    entities = read(tmp_path, *lines, MRDEF=definitions, MRSAB=sources, options=options)
    assert entities[0].definition == text


def test_the_semantic_network_is_a_tree_of_127_types():
    numbers = set(SEMANTIC_NETWORK.values())
    assert len(numbers) == len(SEMANTIC_NETWORK) == 127
    for number in numbers - {"A", "B"}:
        parent = number.rpartition(".")[0] or number[0]
        assert parent in numbers


@pytest.mark.parametrize(
    ("tui", "narrower"),
    [
        ("T005", ""),
        ("T017", "T018 T190 T019 T020 T021 T023 T024 T025 T026 T028"),
        ("T033", "T034 T184"),
        (
            "T038",
            "T039 T040 T041 T042 T043 T044 T045 T046 T047 T048 T191 T049 T050",
        ),
        ("T082", "T030 T029 T085 T086 T087 T088 T083"),
        ("T204", "T008 T010 T011 T012 T013 T015 T016 T014 T004 T002"),
        ("T092", "T093 T094 T095"),
        ("T072", " ".join(t for t, number in SEMANTIC_NETWORK.items() if number[:3] == "A1.")),
    ],
)
def test_narrower_types(tui, narrower):
    assert narrower_types([tui]) == {tui, *narrower.split()}


def test_presets_and_roots():
    assert len(ST21PV_TYPES) == 21
    assert len(ST21PV_SOURCES) == 18
    assert ST21PV_TYPES.issubset(SEMANTIC_NETWORK)
    # Wide types of MedMentions do not lie within one another.
    parts = [narrower_types([tui]) for tui in ST21PV_TYPES]
    assert sum(map(len, parts)) == len(narrower_types(ST21PV_TYPES))
    both = [narrower_types([root]) for root in ("T071", "T051")]
    assert both[0] | both[1] == SEMANTIC_NETWORK.keys()
    assert not both[0] & both[1]


FULL = conso("C0000001", "a")
PROBLEMS = [
    ("MRCONSO", FULL[:-1], "17 columns that end in a bar instead of 18"),
    ("MRCONSO", FULL[:20], "instead of 18"),
    ("MRCONSO", FULL + "|", "19 columns"),
    ("MRCONSO", FULL + "x", "text after the last bar"),
    ("MRCONSO", conso("0001", "a"), "begins with '0001'"),
    ("MRCONSO", conso("", "a"), "begins with ''"),
    ("MRCONSO", conso("c0000001", "a"), "begins with 'c0000001'"),
    ("MRSTY", sty("C0000001", "T047") + "|", "7 columns that end in a bar instead of 6"),
    ("MRDEF", definition("C0000001", "a")[:-2], "6 columns that end in a bar instead of 8"),
    ("MRRANK", "1|MSH|MH|", "3 columns that end in a bar instead of 4"),
    ("MRRANK", "high|MSH|MH|N|", "begins with 'high'"),
    ("MRSAB", "C1|C2|", "2 columns that end in a bar instead of 25"),
]
GOOD = {
    "MRCONSO": FULL,
    "MRSTY": sty("C0000001", "T047"),
    "MRDEF": definition("C0000001", "a"),
    "MRRANK": rank(1, "MSH", "MH"),
    "MRSAB": sab("MSH", "ENG"),
}


@pytest.mark.parametrize(("table", "line", "reason"), PROBLEMS)
def test_a_line_that_is_not_of_its_table_is_named(tmp_path, table, line, reason):
    tables = {**COMMON, table: [GOOD[table], line]}
    folder = write_folder(tmp_path / "a", **tables)
    archive = write_zip(tmp_path / "a.zip", **tables)
    for path in (folder, archive):
        error = raised(path)
        assert error.code == "E112"
        assert f"{path}/{table}.RRF, line 2: not a line of {table}.RRF" in str(error)
        assert reason in str(error)


def test_concepts_before_a_bad_line_are_streamed(tmp_path):
    write_folder(tmp_path, MRCONSO=[FULL, conso("C0000002", "b"), "cut|off"])
    assert next(read_rrf(tmp_path)).concept_id == "C0000001"


@pytest.mark.parametrize("packed", [False, True])
def test_text_that_is_not_utf8_is_refused(tmp_path, packed):
    data = f"{FULL}\n{FULL}\n".encode().replace(b"|a|", b"|\xff|")
    name = "MRCONSO.RRF.gz" if packed else "MRCONSO.RRF"
    data = gzip.compress(data) if packed else data
    tmp_path.joinpath(name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "kb.zip", "w") as archive:
        archive.writestr(f"META/{name}", data)
    for path in (tmp_path, tmp_path / "kb.zip"):
        error = raised(path)
        assert error.code == "E105"
        assert f"{name}, line 1" in str(error)


def test_a_missing_path_is_refused(tmp_path):
    for name in ("none", "none.zip", "none.RRF"):
        error = raised(tmp_path / name)
        assert error.code == "E103"
        assert name in str(error)


def test_a_release_needs_one_main_table(tmp_path):
    few = {name: lines for name, lines in COMMON.items() if name != "MRCONSO"}
    for path in (write_folder(tmp_path / "a", **few), write_zip(tmp_path / "a.zip", **few)):
        error = raised(path)
        assert error.code == "E113"
        assert str(path) in str(error)
        assert "found none" in str(error)
    for year in ("2023AA", "2024AA"):
        write_folder(tmp_path / "b" / year / "META", **COMMON)
    error = raised(tmp_path / "b")
    assert error.code == "E113"
    assert "2023AA/META/MRCONSO.RRF, " in str(error)
    assert len(list(read_rrf(tmp_path / "b" / "2024AA"))) == 3


def test_semantic_types_need_their_table(tmp_path):
    write_folder(tmp_path, MRCONSO=COMMON["MRCONSO"])
    error = raised(tmp_path, semantic_types=frozenset({"T047"}))
    assert error.code == "E114"
    assert "MRCONSO.RRF" in str(error)


def test_filters_that_no_name_passes_say_how_many_each_held_back(tmp_path):
    wanted = {"sources": frozenset({"MSHGER"}), "semantic_types": frozenset({"T033"})}
    write_folder(tmp_path, **COMMON)
    error = raised(tmp_path, **wanted)
    assert error.code == "E115"
    assert "none of the 6 names" in str(error)
    assert "sources (3), semantic types (2), languages (1)." in str(error)
    lines = [conso("C0000001", "a", suppress="Y"), conso("C0000001", "")]
    write_folder(tmp_path, MRCONSO=lines)
    assert "suppressed (1), empty names (1)." in str(raised(tmp_path))


def test_unknown_semantic_types_are_refused(tmp_path):
    write_folder(tmp_path, **COMMON)
    error = raised(tmp_path, semantic_types=frozenset({"T047", "T999", "Disease"}))
    assert error.code == "E116"
    assert "Disease, T999" in str(error)


def test_a_table_without_lines_has_no_concept(tmp_path):
    write_folder(tmp_path, MRCONSO=[])
    assert raised(tmp_path).code == "E111"


def test_a_damaged_archive_is_refused(tmp_path):
    path = write_zip(tmp_path / "kb.zip", **COMMON)
    data = path.read_bytes()
    for damaged in (b"", b"no archive", data[: len(data) // 2]):
        path.write_bytes(damaged)
        error = raised(path)
        assert error.code == "E109"
        assert "kb.zip" in str(error)


def test_an_altered_member_is_refused(tmp_path):
    path = tmp_path / "kb.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MRCONSO.RRF", FULL + "\n")
    path.write_bytes(path.read_bytes().replace(b"|ENG|", b"|GER|"))
    error = raised(path, languages=frozenset())
    assert error.code == "E109"
    assert "kb.zip/MRCONSO.RRF" in str(error)


@pytest.mark.parametrize(("local", "central", "bits"), [(6, 8, b"\x01\x00"), (8, 10, b"\x63\x00")])
def test_an_encrypted_or_unknown_member_is_refused(tmp_path, local, central, bits):
    path = write_zip(tmp_path / "kb.zip", MRCONSO=[FULL])
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\x01\x02")
    data[local : local + 2] = data[second + central : second + central + 2] = bits
    path.write_bytes(data)
    assert raised(path).code == "E109"


@given(st.data())
def test_any_damage_to_an_archive_reads_or_raises_a_coded_error(tmp_path_factory, data):
    path = write_zip(tmp_path_factory.mktemp("any") / "kb.zip", **COMMON)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    entities, code = read_or_code(path)
    assert entities or code


cuis = st.from_regex(r"C0{5}[1-4][0-9]|CL[0-9]{7}|[A-Z][A-Z0-9]{0,11}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|\n"))
atoms = st.tuples(
    st.integers(0, 4),
    texts,
    st.sampled_from(["MSH", "NCI", "HPO"]),
    st.sampled_from(["PT", "SY"]),
    st.sampled_from(["ENG", "GER"]),
    st.sampled_from("PS"),
    st.sampled_from(["PF", "VO"]),
    st.sampled_from("YN"),
    st.sampled_from("NNNOYE"),
)
types = st.tuples(st.integers(0, 4), st.sampled_from(["T047", "T191", "T033", "T103", "T109"]))
pairs = st.tuples(st.sampled_from(["MSH", "NCI", "HPO"]), st.sampled_from(["PT", "SY"]))
meanings = st.tuples(
    st.integers(0, 4), texts, st.sampled_from(["MSH", "NCI", "HPO"]), st.sampled_from("NO")
)
options = st.builds(
    ReadOptions,
    languages=st.frozensets(st.sampled_from(["ENG", "GER"])),
    sources=st.frozensets(st.sampled_from(["MSH", "NCI", "HPO"]), max_size=2),
    semantic_types=st.frozensets(st.sampled_from(["T038", "T033", "T103", "T191"]), max_size=2),
    suppressed=st.booleans(),
)
ANCESTORS = {"T047": {"T038"}, "T191": {"T038"}, "T109": {"T103"}}


def choose_definition(found, wanted):
    found = [row for row in found if row[3] == "N" and row[1].strip()]
    first = [row for row in found if not wanted.sources or row[2] in wanted.sources]
    return next((row[1] for row in first + found), None)


def read_naively(ids, rows, typed, ranked, defined, wanted):
    ranks = {pair: len(ranked) - place for place, pair in enumerate(ranked)}
    for which, group in groupby(rows, key=lambda row: ids[row[0]]):
        tuis = sorted({tui for number, tui in typed if ids[number] == which})
        wide = set(tuis).union(*(ANCESTORS.get(tui, set()) for tui in tuis))
        if wanted.semantic_types and not wide & wanted.semantic_types:
            continue
        kept = [
            ((ranks.get((source, tty), 0), ts == "P", stt == "PF", pref == "Y"), name)
            for _, name, source, tty, lang, ts, stt, pref, suppress in group
            if (not wanted.languages or lang in wanted.languages)
            and (not wanted.sources or source in wanted.sources)
            and (wanted.suppressed or suppress == "N")
            and name.strip()
        ]
        names = [name for _, name in sorted(kept, key=lambda row: row[0], reverse=True)]
        if names:
            meaning = choose_definition([row for row in defined if ids[row[0]] == which], wanted)
            yield clean_entity(Entity(which, names[0], names, tuis, meaning))


@given(
    st.lists(cuis, min_size=5, max_size=5, unique=True),
    st.lists(atoms, min_size=1),
    st.lists(types),
    st.lists(pairs, unique=True),
    st.lists(meanings),
    options,
)
def test_reading_gives_what_a_naive_reference_gives(
    tmp_path_factory, ids, rows, typed, ranked, defined, wanted
):
    tables = {
        "MRCONSO": [conso(ids[number], *rest) for number, *rest in rows],
        "MRSTY": [sty(ids[number], tui) for number, tui in typed],
        "MRDEF": [definition(ids[number], *rest) for number, *rest in defined],
        "MRRANK": [rank(len(ranked) - place, *pair) for place, pair in enumerate(ranked)],
    }
    folder = tmp_path_factory.mktemp("any")
    expected = list(read_naively(ids, rows, typed, ranked, defined, wanted))
    for path in (write_folder(folder, **tables), write_zip(folder / "kb.zip", **tables)):
        if expected:
            assert list(read_rrf(path, wanted)) == expected
        else:
            assert raised(path, **wanted._asdict()).code == "E115"


@given(st.lists(st.sampled_from([*GOOD.values(), "", "|", "C1||", FULL[:30]]) | texts))
def test_any_lines_read_or_raise_a_coded_error(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("any")
    for name in GOOD:
        write_folder(folder, **{"MRCONSO": [FULL], name: lines})
        entities, code = read_or_code(folder)
        assert entities or code in {"E111", "E112", "E115"}
