import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_metric_el.training.clusters import (
    LearnedRadius,
    membership,
    prototypes,
    radius_clusters,
)


@st.composite
def mentions_of_entities(draw, min_size=0):
    """Mentions on a grid, so that distances such as 0 and equal ones come up."""
    n = draw(st.integers(min_size, 12))
    points = st.lists(st.integers(-2, 2), min_size=3 * n, max_size=3 * n)
    entities = st.lists(st.sampled_from([3, 7, 40]), min_size=n, max_size=n)
    mentions = np.asarray(draw(points), dtype=np.float32).reshape(n, 3)
    return mentions, np.asarray(draw(entities), dtype=np.int64)


radii = st.sampled_from([0.0, 0.5, 1.5, 2.5, 4.5, 99.0])


def form(batch, radius, seed=0):
    return radius_clusters(*batch, radius, np.random.default_rng(seed))


def parts(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def naive_parts(mentions, entities, radius, anchors):
    """Grow one set a given anchor; `anchors` maps an entity to a mention."""
    found = set()
    for entity, anchor in anchors.items():
        kept = {anchor}
        for i in range(len(entities)):
            if entities[i] == entity and i != anchor:
                if np.linalg.norm(mentions[i] - mentions[anchor]) < radius:
                    kept.add(i)
                else:
                    found.add(frozenset([i]))
        found.add(frozenset(kept))
    return found


@given(mentions_of_entities(), radii, st.integers(0, 3))
def test_clusters_equal_a_loop_from_the_same_anchors(batch, radius, seed):
    mentions, entities = batch
    clusters = form(batch, radius, seed)
    n_entities = len(set(entities.tolist()))
    anchors = {int(entities[anchor]): int(anchor) for anchor in clusters.anchors[:n_entities]}
    assert set(anchors) == set(entities.tolist())
    assert parts(clusters.labels) == naive_parts(mentions, entities, radius, anchors)
    for i, entity in enumerate(entities):
        gap = np.linalg.norm(mentions[i] - mentions[anchors[int(entity)]])
        assert clusters.distances[i] == pytest.approx(gap, abs=1e-6)


@given(mentions_of_entities(), radii)
def test_clusters_are_a_partition_within_entities(batch, radius):
    _, entities = batch
    clusters = form(batch, radius)
    assert sorted(set(clusters.labels.tolist())) == list(range(clusters.n_clusters))
    assert clusters.labels[clusters.anchors].tolist() == list(range(clusters.n_clusters))
    for part in parts(clusters.labels):
        assert len({int(entities[i]) for i in part}) == 1


@given(mentions_of_entities())
def test_a_radius_of_nothing_leaves_every_mention_alone(batch):
    assert all(len(part) == 1 for part in parts(form(batch, 0.0).labels))


@given(mentions_of_entities())
def test_a_radius_of_everything_makes_one_cluster_an_entity(batch):
    labels = form(batch, 99.0).labels
    assert parts(labels) == parts(batch[1])


def test_every_mention_can_be_the_anchor():
    batch = np.zeros((3, 2), dtype=np.float32), np.zeros(3, dtype=np.int64)
    assert {int(form(batch, 1.0, seed).anchors[0]) for seed in range(30)} == {0, 1, 2}
    assert form(batch, 1.0, 4).anchors.tolist() == form(batch, 1.0, 4).anchors.tolist()


@given(mentions_of_entities(), radii)
def test_prototypes_are_the_means_of_clusters(batch, radius):
    mentions, _ = batch
    clusters = form(batch, radius)
    found = prototypes(mentions, clusters)
    assert found.shape == (clusters.n_clusters, 3)
    for label, prototype in enumerate(found):
        expected = mentions[clusters.labels == label].mean(axis=0)
        np.testing.assert_allclose(prototype, expected, atol=1e-6)


@given(mentions_of_entities(), radii)
def test_rows_of_the_membership_sum_to_one(batch, radius):
    clusters = form(batch, radius)
    matrix = membership(batch[0], clusters)
    assert matrix.shape == (clusters.n_clusters, len(batch[0]))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-6)
    assert ((matrix > 0).sum(axis=0) == 1).all()


def feed(radius, distances):
    for distance in distances:
        radius.update(float(distance))
    return radius


@pytest.mark.parametrize(("mean", "deviation"), [(1.2, 0.1), (0.3, 0.05), (0.7, 0.0)])
def test_the_radius_learns_the_mean_and_the_mean_deviation(mean, deviation):
    signs = np.random.default_rng(0).choice([-1.0, 1.0], 2000)
    radius = feed(LearnedRadius(), mean + deviation * signs)
    assert radius.values == pytest.approx([mean, deviation], abs=0.03)
    assert radius.radius == pytest.approx(mean + 1.5 * deviation, abs=0.06)


def test_the_first_step_is_adams():
    radius = LearnedRadius(0.8, 0.1, learn_rate=0.01)
    radius.update(1.0)
    assert radius.values == pytest.approx([0.81, 0.11])
    radius.update(0.5)
    # By hand: gradients (-0.4, -0.2), then (0.62, -0.4).
    first = np.asarray([0.9 * -0.04 + 0.062, 0.9 * -0.02 - 0.04]) / 0.19
    second = np.asarray([0.999 * 0.00016 + 0.0003844, 0.999 * 0.00004 + 0.00016]) / 0.001999
    assert radius.values == pytest.approx([0.81, 0.11] - 0.01 * first / np.sqrt(second), abs=1e-7)


def test_the_spread_is_never_negative():
    radius = feed(LearnedRadius(0.5, 0.005, learn_rate=0.1), [0.5] * 3)
    assert radius.values[1] == 0.0


def test_a_state_that_went_through_json_continues_identically():
    distances = np.random.default_rng(0).uniform(0.5, 1.5, 40)
    radius = feed(LearnedRadius(), distances[:20])
    resumed = LearnedRadius(mean=5.0, spread=3.0)
    resumed.from_dict(json.loads(json.dumps(radius.to_dict())))
    assert resumed.radius == radius.radius
    feed(radius, distances[20:])
    feed(resumed, distances[20:])
    assert resumed.to_dict() == radius.to_dict()
