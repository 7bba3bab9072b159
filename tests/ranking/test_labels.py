from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.ranking.labels import EntityLabels, label_agreement, learn_labels

N_ENTITIES = 4
labels = st.sampled_from(["", "Disease", "Chemical", "Gene"])
mentions = st.lists(st.tuples(st.integers(0, N_ENTITIES - 1), labels), max_size=12)


def learn(some_mentions):
    entities = np.asarray([entity for entity, _ in some_mentions], dtype=np.int64)
    return learn_labels(entities, [label for _, label in some_mentions], N_ENTITIES)


@given(mentions)
def test_labels_of_entities_equal_naive_counting(some_mentions):
    known = learn(some_mentions)
    assert known.labels == sorted({label for _, label in some_mentions if label})
    for entity in range(N_ENTITIES):
        counts = Counter(label for owner, label in some_mentions if owner == entity and label)
        number = known.of_entity[entity]
        if counts:
            best = min(counts, key=lambda label: (-counts[label], label))
            assert known.labels[number] == best
        else:
            assert number == -1


@given(mentions, st.lists(labels | st.just("Unheard"), min_size=1, max_size=4), st.data())
def test_agreement_equals_a_loop(some_mentions, mention_labels, data):
    known = learn(some_mentions)
    pair = st.tuples(st.integers(0, len(mention_labels) - 1), st.integers(0, N_ENTITIES - 1))
    pairs = data.draw(st.lists(pair, max_size=8))
    owners, entities = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = []
    for owner, entity in pairs:
        mine, number = mention_labels[owner], known.of_entity[entity]
        if mine not in known.labels or number < 0:
            expected.append(0.0)
        else:
            expected.append(1.0 if known.labels[number] == mine else -1.0)
    assert label_agreement(mention_labels, owners, entities, known).tolist() == expected


def test_agreement_of_nothing():
    none = np.zeros(0, dtype=np.int64)
    known = EntityLabels([], np.full(N_ENTITIES, -1, dtype=np.int32))
    assert label_agreement([], none, none, known).tolist() == []
    assert label_agreement(["Gene"], np.asarray([0]), np.asarray([3]), known).tolist() == [0.0]
