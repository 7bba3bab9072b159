import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.names import normalise_name


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
