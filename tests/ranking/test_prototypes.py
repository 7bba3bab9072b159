import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.ranking import prototypes as prototypes_module
from spacy_metric_el.ranking.prototypes import (
    PROTOTYPE_FEATURES,
    Prototypes,
    compare_prototypes,
    cover_with_clusters,
    make_prototypes,
    own_mentions,
)

from ..kb.vocabulary import unit_vectors

NEAREST, MEAN, HAS = (
    PROTOTYPE_FEATURES.index(name)
    for name in ("nearest_prototype", "mean_prototype", "has_prototype")
)
ENTITIES = [2, 3, 7]
radii = st.sampled_from([0.0, 0.9, 1.2, 2.0])
wide_radii = st.sampled_from([0.0, 0.5, 1.5, 2.5, 4.5, 99.0])


@st.composite
def corpora(draw, min_size=0):
    """RETURNS (tuple): Vectors, entities and documents of some mentions."""
    n = draw(st.integers(min_size, 12))
    entities = draw(st.lists(st.sampled_from(ENTITIES), min_size=n, max_size=n))
    documents = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    vectors = unit_vectors(n, seed=draw(st.integers(0, 99)))
    return vectors, np.asarray(entities, np.int64), np.asarray(documents, np.int64)


def naive_cover(vectors, radius, max_clusters):
    def gap(x, y):
        # Rounded as the norms of rows are: of two mentions, both are as near to their mean.
        return float(np.linalg.norm((x - y)[None], axis=1)[0])

    labels, anchors = [None] * len(vectors), []
    while None in labels and len(anchors) < max_clusters:
        left = [i for i, label in enumerate(labels) if label is None]
        mean = vectors[left].mean(axis=0)
        anchors.append(min(left, key=lambda i: gap(vectors[i], mean)))
        for i in left:
            if gap(vectors[i], vectors[anchors[-1]]) <= radius:
                labels[i] = len(anchors) - 1
    for i, label in enumerate(labels):
        if label is None:
            gaps = [gap(vectors[i], vectors[anchor]) for anchor in anchors]
            labels[i] = gaps.index(min(gaps))
    return labels


@given(st.integers(1, 15), wide_radii, st.integers(1, 5), st.integers(0, 99))
def test_a_cover_equals_a_loop(n, radius, max_clusters, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    labels = cover_with_clusters(vectors, radius, max_clusters)
    assert labels.tolist() == naive_cover(vectors, radius, max_clusters)


def test_the_most_central_mentions_are_covered_first():
    vectors = np.asarray([[9.0], [0.0], [0.2], [0.1], [9.1], [-4.0]], dtype=np.float32)
    assert cover_with_clusters(vectors, 1.0, 9).tolist() == [1, 0, 0, 0, 1, 2]
    assert cover_with_clusters(vectors, 1.0, 2).tolist() == [1, 0, 0, 0, 1, 0]
    assert cover_with_clusters(vectors[:0], 1.0, 2).tolist() == []


@given(corpora(), radii, st.integers(1, 3))
def test_prototypes_are_the_sums_of_covers_of_each_entity(corpus, radius, most):
    vectors, entities, _ = corpus
    found, clusters = make_prototypes(vectors, entities, radius=radius, max_per_entity=most)
    assert found.entities.tolist() == sorted(found.entities.tolist())
    assert set(found.entities.tolist()) == set(entities.tolist())
    assert found.sums.shape == (len(found.sizes), vectors.shape[1])
    for cluster, entity in enumerate(found.entities):
        members = np.flatnonzero(clusters == cluster)
        assert set(entities[members]) == {entity}
        assert found.sizes[cluster] == len(members) > 0
        assert found.sums[cluster] == pytest.approx(vectors[members].sum(axis=0), abs=1e-5)
    for entity in set(entities.tolist()):
        own = np.flatnonzero(entities == entity)
        cover = cover_with_clusters(vectors[own], radius, most)
        first = int((found.entities < entity).sum())
        assert (clusters[own] - first).tolist() == cover.tolist()
        assert (found.entities == entity).sum() == cover.max() + 1 <= most


@given(corpora(), radii)
def test_own_mentions_equal_a_loop(corpus, radius):
    vectors, entities, documents = corpus
    prototypes, clusters = make_prototypes(vectors, entities, radius=radius, max_per_entity=3)
    n = len(prototypes.sizes)
    own = own_mentions(documents[:1], documents, clusters, vectors, n)
    assert own.documents.tolist() == documents[:1].tolist()
    for document in range(4):
        for cluster in range(n):
            members = np.flatnonzero((documents == document) & (clusters == cluster))
            pair = np.asarray([document]), np.asarray([cluster])
            assert own.clusters.of(*pair).tolist() == [len(members)]
            places, is_there = own.clusters.places(*pair)
            assert is_there.tolist() == [len(members) > 0]
            if len(members):
                expected = vectors[members].sum(axis=0)
                assert own.sums[places[0]] == pytest.approx(expected, abs=1e-5)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(b))


def naive_comparison(vector, entity, vectors, entities, clusters, is_left):
    """RETURNS (list[float]): The evidence of one pair, from the mentions that are left."""
    sums = []
    for cluster in sorted(set(clusters.tolist())):
        members = [
            i
            for i in range(len(vectors))
            if clusters[i] == cluster and entities[i] == entity and is_left[i]
        ]
        if members:
            sums.append(vectors[members].astype(np.float64).sum(axis=0))
    row = [0.0] * len(PROTOTYPE_FEATURES)
    if sums:
        row[NEAREST] = max(cosine(vector, total) for total in sums)
        row[MEAN] = cosine(vector, sum(sums))
        row[HAS] = 1.0
    return row


@given(corpora(min_size=1), radii, st.booleans(), st.data())
def test_comparison_equals_a_loop(corpus, radius, leaves_own_out, data):
    vectors, entities, documents = corpus
    prototypes, clusters = make_prototypes(vectors, entities, radius=radius, max_per_entity=3)
    n = len(vectors)
    # Some that are judged made no prototype, and one entity has none.
    judged = np.concatenate((documents, [0, 9]))
    queries = np.concatenate((vectors, unit_vectors(2, seed=100)))
    pair = st.tuples(st.integers(0, n + 1), st.sampled_from([*ENTITIES, 5]))
    pairs = data.draw(st.lists(pair, max_size=10))
    owners, asked = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    own = own_mentions(judged, documents, clusters, vectors, len(prototypes.sizes))
    found = compare_prototypes(queries, owners, asked, prototypes, own if leaves_own_out else None)
    assert found.shape == (len(pairs), len(PROTOTYPE_FEATURES))
    for row, (owner, entity) in zip(found, pairs, strict=True):
        is_left = documents != judged[owner] if leaves_own_out else np.ones(n, dtype=bool)
        expected = naive_comparison(queries[owner], entity, vectors, entities, clusters, is_left)
        assert row.tolist() == pytest.approx(expected, abs=1e-4)


def test_prototypes_of_the_own_document_alone_are_hidden():
    vectors = np.asarray([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    documents, entities = np.asarray([0, 0, 1]), np.asarray([4, 4, 4])
    prototypes, clusters = make_prototypes(vectors, entities, radius=0.5, max_per_entity=4)
    assert prototypes.sizes.tolist() == [2, 1]
    before = prototypes.sums.copy()
    own = own_mentions(documents, documents, clusters, vectors, 2)
    found = compare_prototypes(vectors, np.asarray([0, 2]), entities[[0, 2]], prototypes, own)
    expected = {NEAREST: [0.0, 0.0], MEAN: [0.0, 0.0], HAS: [1.0, 1.0]}
    assert {i: found[:, i].tolist() for i in expected} == expected
    alone = own_mentions(np.zeros(3, np.int64), np.zeros(3, np.int64), clusters, vectors, 2)
    none_left = compare_prototypes(vectors, np.arange(3), entities, prototypes, alone)
    assert not none_left.any()
    assert prototypes.sums.tolist() == before.tolist()


@pytest.mark.parametrize("leaves_own_out", [False, True])
def test_parts_of_the_pairs_are_compared_as_all_are(monkeypatch, leaves_own_out):
    rng = np.random.default_rng(0)
    vectors, entities, documents = unit_vectors(30), rng.integers(0, 6, 30), rng.integers(0, 9, 30)
    prototypes, clusters = make_prototypes(vectors, entities, radius=1.0, max_per_entity=3)
    own = own_mentions(documents, documents, clusters, vectors, len(prototypes.sizes))
    pairs = rng.integers(0, 30, 50), rng.integers(0, 8, 50)
    args = vectors, *pairs, prototypes, own if leaves_own_out else None
    expected = compare_prototypes(*args)
    for size in (1, 7, 50):
        monkeypatch.setattr(prototypes_module, "COMPARED", size)
        assert compare_prototypes(*args) == pytest.approx(expected, abs=1e-6)


def test_the_mean_weighs_clusters_by_their_mentions():
    prototypes = Prototypes(
        np.asarray([[3, 0], [0, 1]], np.float32), np.asarray([3, 1], np.float32), np.asarray([6, 6])
    )
    found = compare_prototypes(
        np.asarray([[0, 1]], np.float32), np.asarray([0]), np.asarray([6]), prototypes
    )
    assert found[0, NEAREST] == 1.0
    assert found[0, MEAN] == pytest.approx(1 / np.sqrt(10))


def test_nothing_to_compare_with():
    width, none = 4, np.zeros(0, dtype=np.int64)
    nobody = np.zeros((0, width), dtype=np.float32)
    prototypes, clusters = make_prototypes(nobody, none, radius=0.8, max_per_entity=2)
    assert len(clusters) == len(prototypes.sizes) == len(prototypes.entities) == 0
    own = own_mentions(np.asarray([0]), none, clusters, nobody, 0)
    for given_own in (None, own):
        found = compare_prototypes(
            unit_vectors(1), np.asarray([0, 0]), np.asarray([2, 3]), prototypes, given_own
        )
        assert found.tolist() == [[0.0] * len(PROTOTYPE_FEATURES)] * 2
        assert len(compare_prototypes(nobody, none, none, prototypes, given_own)) == 0
