import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_metric_el.text import hash_ngrams, normalise_name

TEXTS = st.lists(
    st.one_of(
        st.text(alphabet="ab1 -,.", max_size=8),
        st.text(alphabet="aé ßΩ中-\n\t ​𝛼", max_size=6),
        st.text(max_size=6),
    ),
    max_size=5,
)
MASK = (1 << 64) - 1


def naive_hash(window):
    value = 0
    for char in window:
        value = ((value ^ ord(char)) * 0x9E3779B97F4A7C15) & MASK
        value ^= value >> 29
    return value


def naive_windows(text, min_size, max_size):
    """Windows of each word between two spaces, without those of white space alone."""
    words = "".join(char if char.isalnum() else " " for char in text).split()
    if not words:
        words = ["".join(text.split())] if text.split() else []
    found = []
    for word in words:
        padded = f" {word} "
        for size in range(min_size, max_size + 1):
            for start in range(len(padded) - size + 1):
                window = padded[start : start + size]
                if window.strip(" "):
                    found.append(window)
    return found


def grouped(texts, **sizes):
    hashes, owners = hash_ngrams(texts, **sizes)
    assert hashes.dtype == np.uint64
    assert owners.dtype == np.int64
    return [Counter(hashes[owners == i].tolist()) for i in range(len(texts))]


def naive_grouped(texts, min_size=2, max_size=5):
    return [
        Counter(naive_hash(window) for window in naive_windows(text, min_size, max_size))
        for text in texts
    ]


@settings(max_examples=300)
@given(TEXTS, st.integers(1, 4), st.integers(0, 4))
def test_same_windows_as_a_loop(texts, min_size, more):
    texts = [normalise_name(text) for text in texts]
    sizes = {"min_size": min_size, "max_size": min_size + more}
    assert grouped(texts, **sizes) == naive_grouped(texts, **sizes)


@given(TEXTS)
@settings(max_examples=100)
def test_owners_rise_and_no_window_reaches_into_another_text(texts):
    texts = [normalise_name(text) for text in texts]
    _, owners = hash_ngrams(texts)
    assert (np.diff(owners) >= 0).all()
    together = grouped(texts)
    assert together == [grouped([text])[0] for text in texts]


def test_windows_written_out():
    windows = [" a", "ab", "b ", " ab", "ab ", " ab ", " c", "c ", " c "]
    assert grouped(["ab-c"]) == [Counter(map(naive_hash, windows))]


def test_order_of_words_does_not_matter_but_letters_do():
    a, b, c = grouped(["head pain", "pain head", "pain haed"])
    assert a == b
    assert a != c


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_nothing(texts):
    hashes, owners = hash_ngrams(texts)
    assert len(hashes) == len(owners) == 0


def test_punctuation_alone_keeps_its_windows():
    plus, dashes = grouped(["+", "- -"])
    assert plus == Counter(map(naive_hash, [" +", "+ ", " + "]))
    assert dashes == Counter(map(naive_hash, naive_windows("- -", 2, 5)))


def test_an_empty_text_between_others_owns_nothing():
    _, owners = hash_ngrams(["ab", "", "ab"])
    assert set(owners.tolist()) == {0, 2}


def test_characters_beyond_the_basic_plane():
    text = "\U0001d6fc\U00020000"
    assert grouped([text]) == naive_grouped([text])


def test_size_of_one_is_no_bare_space():
    assert grouped(["ab"], min_size=1, max_size=1) == [Counter(map(naive_hash, "ab"))]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Common  Cold", "common cold"),
        (" heart\tattack\n", "heart attack"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁbrosis", "fibrosis"),
        ("H₂O", "h2o"),
        ("ｃｏｌｄ", "cold"),
        ("IL\u00a06", "il 6"),
        ("Cafe\u0301", "caf\u00e9"),
        ("5 \u00b5g", "5 \u03bcg"),
        ("β-Blocker", "β-blocker"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_spellings_of_a_name(name, key):
    assert normalise_name(name) == key


def test_punctuation_and_accents_are_kept_apart():
    keys = {normalise_name(name) for name in ("IL-6", "IL 6", "IL6", "resume", "résumé")}
    assert len(keys) == 5


@given(st.text())
def test_the_second_time_changes_nothing(name):
    assert normalise_name(normalise_name(name)) == normalise_name(name)


@given(st.text())
def test_a_name_has_one_key_in_whatever_form_of_unicode(name):
    keys = {
        normalise_name(unicodedata.normalize(form, name)) for form in ("NFC", "NFD", "NFKC", "NFKD")
    }
    assert keys == {normalise_name(name)}


@given(st.text(), st.sampled_from([" ", "\t", "\n ", "\u2003"]))
def test_white_space_around_and_between_words_says_nothing(name, space):
    spaced = space + space.join(name.split()) + space
    assert normalise_name(spaced) == normalise_name(name)
