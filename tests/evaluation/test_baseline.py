from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.evaluation.baseline import ExactLookup
from spacy_metric_el.text import normalise_name

texts = st.sampled_from(["Pain", "pain ", "PAIN", "ache", "heart  attack", "", " "])
concepts = st.sampled_from(["", "C1", "C10", "C2", "D1"])
pairs = st.lists(st.tuples(texts, concepts), max_size=15)


def naive_predict(text, train, names):
    name = normalise_name(text)
    if not name:
        return ""
    counts = Counter(cui for other, cui in train if cui and normalise_name(other) == name)
    if counts:
        most = max(counts.values())
        return min(cui for cui, count in counts.items() if count == most)
    return min((cui for other, cui in names if cui and normalise_name(other) == name), default="")


@given(train=pairs, names=pairs, text=texts)
def test_lookup_agrees_with_naive_loop(train, names, text):
    lookup = ExactLookup(train, names)
    assert lookup.predict(text) == naive_predict(text, train, names)


@given(train=pairs, names=pairs, text=texts)
def test_order_of_the_pairs_does_not_matter(train, names, text):
    assert ExactLookup(train, names).predict(text) == (
        ExactLookup(train[::-1], names[::-1]).predict(text)
    )


def test_training_comes_before_the_names():
    train = [("Cold", "C2"), ("cold", "C2"), ("COLD", "C1")]
    lookup = ExactLookup(train, [("cold", "C1"), ("Flu", "C7"), ("flu", "C3")])
    assert lookup.predict(" cold") == "C2"
    assert lookup.predict("FLU") == "C3"
    assert lookup.predict("measles") == ""


def test_names_are_read_as_a_stream():
    names = ((f"name {number}", f"C{number // 3:07}") for number in range(30_000))
    lookup = ExactLookup(iter(()), names)
    assert [lookup.predict(f"Name {number}") for number in (0, 2, 3, 29_999)] == [
        "C0000000",
        "C0000000",
        "C0000001",
        "C0009999",
    ]


def test_without_any_pairs():
    lookup = ExactLookup([], [])
    assert lookup.predict("pain") == lookup.predict("") == ""
