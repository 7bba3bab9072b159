import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.ranking.wording import WORDING_FEATURES, compare_wordings, read_wording

WORDS = ["tumour", "Tumours", "lung", "haemoglobin", "hemoglobin", "of", "II"]
texts = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
NAMES = ["tumour of lung", "Hemoglobin II", "lung", "lung tumours lung", "--"]


@pytest.mark.parametrize(
    ("text", "words", "head"),
    [
        ("Lung Tumours", {"lung", "tumour"}, "tumour"),
        ("haemoglobin, foetal", {"hemoglobin", "fetal"}, "fetal"),
        ("the the", {"the"}, "the"),
        ("type-2 diabetes", {"type", "2", "diabete"}, "diabete"),
        ("gas", {"gas"}, "gas"),
        ("T2s", {"t2s"}, "t2s"),
        ("ﬁts  \n", {"fit"}, "fit"),
        (" - ", set(), ""),
        ("", set(), ""),
    ],
)
def test_words_without_number_order_and_digraphs(text, words, head):
    assert read_wording(text) == ({hash(word) for word in words}, hash(head) if head else 0)


@given(st.lists(texts, min_size=1, max_size=3), st.data())
def test_comparison_equals_a_loop(mentions, data):
    pair = st.tuples(st.integers(0, len(mentions) - 1), st.integers(-1, len(NAMES) - 1))
    pairs = data.draw(st.lists(pair, max_size=8))
    owners, names = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    wordings = [read_wording(text) for text in mentions]
    found = compare_wordings(wordings, owners, names, lambda name: read_wording(NAMES[name]))
    assert found.shape == (len(pairs), len(WORDING_FEATURES))
    for row, (owner, name) in zip(found.tolist(), pairs, strict=True):
        expected = dict.fromkeys(WORDING_FEATURES, 0.0)
        mine, theirs = wordings[owner], read_wording(NAMES[name])
        if name >= 0 and mine.words and theirs.words:
            shared = [word for word in theirs.words if word in mine.words]
            expected = {
                "same_words": float(set(mine.words) == set(theirs.words)),
                "word_jaccard": len(shared) / len({*mine.words, *theirs.words}),
                "word_cover": len(shared) / len(theirs.words),
                "same_head": float(mine.head == theirs.head),
            }
        assert dict(zip(WORDING_FEATURES, row, strict=True)) == pytest.approx(expected)


def test_only_names_are_read():
    def refuse(name):
        raise AssertionError(name)

    none = np.asarray([-1])
    assert not compare_wordings([read_wording("lung")], np.asarray([0]), none, refuse).any()
