import sys
from collections import Counter
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

import spacy_metric_el.kb.index.postings as postings_module
from spacy_metric_el.kb.index.postings import (
    best_places,
    build_postings,
    gather_rows,
    read_postings,
    write_postings,
)

NAMES = [
    "myocardial infarction",
    "Myocardial  Infarction",
    "infarction",
    "cerebral infarction",
    "cancer",
    "cancer of the lung",
    "lung",
    "12",
    "seizure",
    "seizures",
]
TEXTS = st.lists(st.text(alphabet="ab c", max_size=6), min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def few_buckets(monkeypatch):
    """Millions of buckets take their time, and hold no collisions to test."""
    monkeypatch.setattr(postings_module, "N_BUCKETS", 2**12)


def postings_of(names):
    return build_postings(lambda rows: [names[i] for i in rows], len(names))


def ngrams_of(text):
    """A naive loop; a name of a bucket in place of its number."""
    owners, ngrams = postings_module._distinct_ngrams([text])
    assert not owners.any()
    return ngrams.tolist()


def found_by_loop(names, text, *, limit, budget, longest):
    grams = [ngrams_of(name) for name in names]
    frequencies = Counter(gram for own in grams for gram in own)
    n = len(names)
    weight = {g: np.float32(1 + log((1 + n) / (1 + f))) for g, f in frequencies.items()}
    by_size = sorted(range(n), key=lambda row: (len(grams[row]), row))
    shared = Counter()
    for gram in sorted(ngrams_of(text), key=lambda g: (-weight.get(g, np.inf), g)):
        for row in [row for row in by_size if gram in grams[row]][:longest]:
            if not budget:
                break
            budget -= 1
            shared[row] += int(weight[gram] * np.float32(32))
    norms = {row: sqrt(sum(float(weight[g]) for g in grams[row])) for row in shared}
    scores = {row: total / norms[row] for row, total in shared.items()}
    best = sorted(scores, key=lambda row: (-round(scores[row], 3), row))[:limit]
    return sorted(best), scores


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("budget", [4, 1000])
@pytest.mark.parametrize("longest", [2, 1000])
def test_rows_are_those_of_a_naive_loop(monkeypatch, limit, budget, longest):
    monkeypatch.setattr(postings_module, "BUDGET", budget)
    monkeypatch.setattr(postings_module, "LONGEST", longest)
    postings = postings_of(NAMES)
    texts = ["myocardial infarct", "cancers", "lung cancer", "xyz", "", "seizure", "12"]
    gathered = list(gather_rows(postings, texts, limit))
    assert len(gathered) == len(texts)
    for text, (rows, _) in zip(texts, gathered, strict=True):
        mine = rows.tolist()
        expected, scores = found_by_loop(NAMES, text, limit=limit, budget=budget, longest=longest)
        assert len(mine) == len(expected)
        assert mine == sorted(set(mine))
        # Rows that score alike may stand for each other only in single precision.
        least = sorted(scores.values(), reverse=True)[: len(mine)]
        assert sorted((scores[row] for row in mine), reverse=True) == pytest.approx(least, abs=2e-3)


@given(TEXTS, st.text(alphabet="ab c", max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_text_finds_its_own_row(names, other):
    postings = postings_of(names)
    gathered = list(gather_rows(postings, [*names, other], len(names)))
    assert len(gathered) == len(names) + 1
    for i, name in enumerate(names):
        assert (i in gathered[i][0]) == bool(ngrams_of(name))
    assert all(len(rows) == len(scores) for rows, scores in gathered)


def test_lists_keep_the_shortest_texts(monkeypatch):
    monkeypatch.setattr(postings_module, "LONGEST", 2)
    postings = postings_of(["lung cancer of the left side", "lung", "lung cancer", "lungs"])
    for ngram in ngrams_of("lung"):
        own = postings.rows[slice(*postings.offsets[ngram : ngram + 2])].tolist()
        assert own[0] == 1
        assert len(own) <= 2


def test_a_name_of_frequent_words_finds_itself(monkeypatch):
    # Collisions would fill lists this short.
    monkeypatch.setattr(postings_module, "N_BUCKETS", 2**20)
    monkeypatch.setattr(postings_module, "LONGEST", 3)
    monkeypatch.setattr(postings_module, "BUDGET", 20)
    drugs, doses = ["codeine", "metformin", "aspirin", "heparin"], ["75 mg", "100 mg", "400 mg"]
    names = [f"{a} {x} {b} {y} capsule" for a in drugs for b in drugs for x in doses for y in doses]
    gathered = list(gather_rows(postings_of(names), names, 8))
    assert len(gathered) == len(names)
    assert all(i in rows for i, (rows, _) in enumerate(gathered))


def test_texts_are_taken_in_parts(monkeypatch):
    whole = postings_of(NAMES)
    expected = list(gather_rows(whole, NAMES, 4))
    monkeypatch.setattr(postings_module, "BLOCK", 3)
    monkeypatch.setattr(postings_module, "TEXTS", 2)
    parts = postings_of(NAMES)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    for wanted, found in zip(expected, gather_rows(parts, NAMES, 4), strict=True):
        for a, b in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nothing_asked_nothing_found():
    assert list(gather_rows(postings_of(NAMES), [], 4)) == []


def test_postings_come_back_from_disk(tmp_path):
    postings = postings_of(NAMES)
    write_postings(postings, tmp_path)
    found = read_postings(tmp_path)
    for a, b in zip(postings, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert read_postings(tmp_path / "nowhere") is None


@pytest.mark.parametrize("field", ["offsets", "rows", "weights"])
def test_arrays_that_do_not_fit_are_refused(tmp_path, field):
    postings = postings_of(NAMES)
    write_postings(postings._replace(**{field: getattr(postings, field)[:-1]}), tmp_path)
    with pytest.raises(ValueError, match="n-grams"):
        read_postings(tmp_path)


@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(1, 42))
def test_best_places_are_those_of_a_stable_sort(scores, limit):
    values = np.asarray(scores, dtype=np.float32)
    expected = np.sort(np.argsort(-values, kind="stable")[:limit])
    np.testing.assert_array_equal(best_places(values, limit), expected)


def test_a_bar_is_shown_where_there_are_many_names(monkeypatch, capsys):
    build_postings(lambda rows: [NAMES[i] for i in rows], len(NAMES), progress=True)
    monkeypatch.setattr(postings_module, "BLOCK", 3)
    monkeypatch.setattr(postings_module, "tqdm", lambda **how: tqdm(**{**how, **shown(how)}))
    build_postings(lambda rows: [NAMES[i] for i in rows], len(NAMES))
    assert capsys.readouterr().err == ""
    build_postings(lambda rows: [NAMES[i] for i in rows], len(NAMES), progress=True)
    assert f"{len(NAMES)}/{len(NAMES)}" in capsys.readouterr().err


def shown(how):
    """RETURNS (dict): Settings of a bar as on a terminal, where None stands for "if it is one"."""
    return {"disable": how["disable"] is True, "leave": True, "file": sys.stderr}
