import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy import registry
from thinc.api import registry as thinc_registry

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.training.clusters import Clusters
from spacy_metric_el.training.losses import LinkingBatch, PrototypeTriplet, prototype_triplet
from spacy_metric_el.training.name_sampler import make_pool

from ..util import make_records

WIDTH = 5


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def unit_vectors(rng, n, dtype="float64"):
    return unit(rng.normal(size=(n, WIDTH))).astype(dtype)


def all_clusters(entities, labels):
    """Clusters as given; the anchors are their first mentions."""
    labels = np.asarray(labels)
    anchors = np.asarray([np.flatnonzero(labels == c)[0] for c in range(labels.max() + 1)])
    return Clusters(labels, anchors, np.zeros(len(entities), dtype="float32"))


def random_batch(seed, n_names=9, dtype="float64"):
    """Three entities of seven mentions in four clusters; names are of one, of none, or unsafe."""
    rng = np.random.default_rng(seed)
    entities = np.asarray([0, 0, 1, 1, 1, 2, 0])
    clusters = all_clusters(entities, [0, 0, 1, 1, 3, 2, 0])
    owners = rng.integers(0, 4, n_names)
    bears = owners[None] == np.arange(3)[:, None]
    safe = ~bears & (rng.random((3, n_names)) < 0.8)
    batch = LinkingBatch(
        unit_vectors(rng, 7, dtype),
        entities,
        unit_vectors(rng, n_names, dtype),
        bears[entities],
        safe[entities],
    )
    return batch, clusters


def naive_loss(batch, clusters, margin, negatives):
    """A loop over clusters; returns the loss and how near it is to a kink."""
    losses, gaps = [], [math.inf]
    for c in range(clusters.n_clusters):
        members = [i for i, label in enumerate(clusters.labels) if label == c]
        prototype = sum(batch.mentions[i] for i in members) / len(members)
        gap = [float(np.linalg.norm(prototype - name)) for name in batch.names]
        names = range(len(batch.names))
        positives = [j for j in names if all(batch.is_positive[i, j] for i in members)]
        if not positives:
            positives = [j for j in names if any(batch.is_positive[i, j] for i in members)]
        safe = [j for j in names if all(batch.is_negative[i, j] for i in members)]
        if not positives or not safe:
            continue
        near = sorted(gap[j] for j in positives)
        far = sorted(gap[j] for j in safe)
        terms = [near[0] - gap_of_negative + margin for gap_of_negative in far[:negatives]]
        losses.append(sum(max(term, 0.0) for term in terms) / len(terms))
        gaps += [abs(term) for term in terms]
        gaps += [near[1] - near[0]] if len(near) > 1 else []
        gaps += [far[negatives] - far[negatives - 1]] if len(far) > negatives else []
    return sum(losses) / len(losses) if losses else 0.0, min(gaps)


settings_of_losses = {"margin": st.sampled_from([0.05, 0.3, 1.0]), "negatives": st.integers(1, 12)}
seeds = st.integers(0, 10_000)


@given(seeds, st.fixed_dictionaries(settings_of_losses), st.integers(0, 9))
def test_the_loss_equals_a_loop(seed, config, n_names):
    batch, clusters = random_batch(seed, n_names)
    result = prototype_triplet(batch, clusters, **config)
    assert result.loss == pytest.approx(naive_loss(batch, clusters, **config)[0], abs=1e-6)
    assert result.d_mentions.shape == batch.mentions.shape
    assert result.d_names.shape == batch.names.shape


def finite_differences(function, array, step=1e-5):
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + step
        above = function()
        array[place] = kept - step
        gradient[place] = (above - function()) / (2 * step)
        array[place] = kept
    return gradient


@settings(max_examples=25)
@given(seeds, st.fixed_dictionaries(settings_of_losses))
def test_the_gradients_equal_finite_differences(seed, config):
    batch, clusters = random_batch(seed)
    if naive_loss(batch, clusters, **config)[1] < 1e-3:
        return  # at a kink there is no gradient to compare with
    result = prototype_triplet(batch, clusters, **config)

    def loss():
        return prototype_triplet(batch, clusters, **config).loss

    for found, array in ((result.d_mentions, batch.mentions), (result.d_names, batch.names)):
        np.testing.assert_allclose(found, finite_differences(loss, array), atol=1e-6)


def test_single_precision_is_close_to_double():
    for seed in range(20):
        double, clusters = random_batch(seed)
        single = double._replace(
            mentions=double.mentions.astype("float32"), names=double.names.astype("float32")
        )
        expected = prototype_triplet(double, clusters, margin=0.3, negatives=3)
        found = prototype_triplet(single, clusters, margin=0.3, negatives=3)
        assert found.loss == pytest.approx(expected.loss, abs=1e-5)
        np.testing.assert_allclose(found.d_mentions, expected.d_mentions, atol=1e-5)
        np.testing.assert_allclose(found.d_names, expected.d_names, atol=1e-5)
        assert found.d_mentions.dtype == found.d_names.dtype == np.float32


@given(seeds, st.fixed_dictionaries(settings_of_losses))
def test_a_name_that_is_neither_gets_no_gradient(seed, config):
    batch, clusters = random_batch(seed)
    masked = ~(batch.is_positive | batch.is_negative).any(axis=0)
    result = prototype_triplet(batch, clusters, **config)
    assert not result.d_names[masked].any()


@given(seeds)
def test_a_hard_negative_is_a_safe_one_however_near_the_others_are(seed):
    batch, clusters = random_batch(seed)
    unsafe = ~batch.is_negative.any(axis=0) & ~batch.is_positive.any(axis=0)
    names = batch.names.copy()
    names[unsafe] = batch.mentions[0]
    moved = batch._replace(names=names)
    config = {"margin": 0.3, "negatives": 12}
    assert prototype_triplet(moved, clusters, **config).loss == pytest.approx(
        prototype_triplet(batch, clusters, **config).loss
    )


def line_batch(gaps, positives, negatives, n_mentions=1):
    """Names at distances from mentions at the origin; the loss needs no unit vectors."""
    names = np.zeros((len(gaps), WIDTH))
    names[:, 0] = gaps
    masks = [
        np.repeat([[i in chosen for i in range(len(gaps))]], n_mentions, axis=0)
        for chosen in (positives, negatives)
    ]
    entities = np.zeros(n_mentions, dtype=np.int64)
    return LinkingBatch(np.zeros((n_mentions, WIDTH)), entities, names, *masks)


ONE = all_clusters([0], [0])


@pytest.mark.parametrize(("negatives", "loss"), [(1, 0.8), (2, 0.55), (3, 1.1 / 3), (9, 0.275)])
def test_the_mean_is_over_the_hardest_negatives(negatives, loss):
    # Violations 0.5 - gap + 0.5 are 0.8, 0.3, 0 and 0 again.
    batch = line_batch([0.5, 0.2, 0.7, 1.0, 1.9], {0}, {1, 2, 3, 4})
    result = prototype_triplet(batch, ONE, margin=0.5, negatives=negatives)
    assert result.loss == pytest.approx(loss)
    assert not result.d_names[3:].any()


def test_the_nearest_positive_counts():
    batch = line_batch([1.5, 0.5, 0.6], {0, 1}, {2})
    result = prototype_triplet(batch, ONE, margin=0.5, negatives=1)
    assert result.loss == pytest.approx(0.4)
    assert result.d_names[:, 0] == pytest.approx([0.0, 1.0, -1.0])
    assert result.d_mentions[0, 0] == pytest.approx(0.0)


def test_clusters_without_positive_or_negative_are_left_out():
    batch, clusters = random_batch(3)
    expected = naive_loss(batch, clusters, 1.0, 2)[0]
    assert expected > 0
    extra = LinkingBatch(
        np.concatenate((batch.mentions, unit_vectors(np.random.default_rng(0), 2))),
        np.concatenate((batch.entities, [8, 9])),
        batch.names,
        np.concatenate((batch.is_positive, np.zeros((1, 9), bool), np.ones((1, 9), bool))),
        np.concatenate((batch.is_negative, np.ones((1, 9), bool), np.zeros((1, 9), bool))),
    )
    labels = [*clusters.labels, clusters.n_clusters, clusters.n_clusters + 1]
    result = prototype_triplet(extra, all_clusters(extra.entities, labels), margin=1.0, negatives=2)
    assert result.loss == pytest.approx(expected)
    assert not result.d_mentions[7:].any()
    assert result.d_mentions[:7].any()


@pytest.mark.parametrize(("positives", "negatives"), [({0}, ()), ((), {0}), ((), ())])
def test_nothing_to_compare_is_a_loss_of_zero(positives, negatives):
    batch = line_batch([0.5], positives, negatives, n_mentions=3)
    result = prototype_triplet(batch, all_clusters([0] * 3, [0, 0, 1]), margin=0.5, negatives=2)
    assert result.loss == 0.0
    assert not result.d_mentions.any()
    assert not result.d_names.any()


def test_no_names_at_all():
    result = PrototypeTriplet()(line_batch([], (), (), n_mentions=2))
    assert result.loss == 0.0
    assert result.d_mentions.shape == (2, WIDTH)
    assert result.d_names.shape == (0, WIDTH)


def test_names_that_are_positive_for_all_of_a_cluster_go_before_those_of_some():
    batch = line_batch([0.1, 0.8, 0.9], {1}, {2}, n_mentions=2)
    batch.is_positive[0, 0] = True
    both = all_clusters([0, 0], [0, 0])
    result = prototype_triplet(batch, both, margin=0.5, negatives=1)
    assert result.loss == pytest.approx(0.4)
    batch.is_positive[1] = False
    result = prototype_triplet(batch, both, margin=1.0, negatives=1)
    assert result.loss == pytest.approx(0.2)


def test_a_name_must_be_a_safe_negative_of_all_mentions_of_a_cluster():
    batch = line_batch([0.5, 0.2, 0.7], {0}, {1, 2}, n_mentions=2)
    batch.is_negative[0, 1] = False
    both = all_clusters([0, 0], [0, 0])
    result = prototype_triplet(batch, both, margin=0.5, negatives=1)
    assert result.loss == pytest.approx(0.3)
    assert not result.d_names[1].any()


def test_the_gradient_of_a_mention_on_its_name_does_not_explode():
    rng = np.random.default_rng(0)
    for size in (0.0, 1e-7, 1e-6, 1e-5, 1e-4):
        for _ in range(30):
            mention = unit(rng.normal(size=(1, 384))).astype("float32")
            near = unit(mention + size * rng.normal(size=(1, 384)))
            names = np.concatenate((near, unit(mention + 0.01 * rng.normal(size=(1, 384)))))
            batch = LinkingBatch(
                mention,
                np.zeros(1, dtype=np.int64),
                names.astype("float32"),
                np.asarray([[True, False]]),
                np.asarray([[False, True]]),
            )
            result = prototype_triplet(batch, ONE, margin=0.5, negatives=1)
            assert result.loss > 0
            # A distance has a gradient of length 1, and there are two.
            assert np.linalg.norm(result.d_mentions) < 2.5
            assert np.linalg.norm(result.d_names, axis=1).max() < 1.5


def test_the_hard_negative_never_shares_the_gold_entity():
    vocabulary = {"C1": ["cold", "rhinitis"], "C2": ["cold", "chill"], "C3": ["fever"]}
    records = make_records(Entity(c, names[0], names) for c, names in vocabulary.items())
    names = np.arange(records.n_names)
    pool = make_pool(records, np.asarray([0, 1, 2]), names)
    rng = np.random.default_rng(0)
    fever, chill, rhinitis = (records.name_index(n) for n in ("fever", "chill", "rhinitis"))
    for entity in range(3):
        batch = LinkingBatch(
            unit_vectors(rng, 1),
            np.asarray([entity]),
            unit_vectors(rng, len(names)),
            pool.bears[[entity]],
            pool.is_safe[[entity]],
        )
        result = prototype_triplet(batch, ONE, margin=2.1, negatives=9)
        touched = set(np.flatnonzero(result.d_names.any(axis=1)).tolist())
        negatives = touched - set(np.flatnonzero(pool.bears[entity]).tolist())
        safe = {chill, rhinitis, records.name_index("cold")} if entity == 2 else {fever}
        assert negatives == safe


@pytest.mark.parametrize("config", [{"margin": 0.0}, {"margin": -1.0}, {"negatives": 0}])
def test_bad_settings(config):
    with pytest.raises(MetricELError) as error:
        PrototypeTriplet(**config)
    assert error.value.code == "E230"


@pytest.mark.parametrize("registry_", [registry, thinc_registry])
def test_the_registry_has_the_loss(registry_):
    block = {"@losses": "spacy_metric_el.PrototypeTriplet.v1", "margin": 0.3, "radius_mean": 0.5}
    loss = registry_.resolve({"loss": block})["loss"]
    assert isinstance(loss, PrototypeTriplet)
    assert (loss.margin, loss.negatives, loss.radius.values[0]) == (0.3, 4, 0.5)


def test_a_step_takes_the_radius_towards_the_largest_kept_distance():
    mentions = np.zeros((4, WIDTH))
    mentions[:, 0] = [0.0, 0.5, 0.0, 9.0]
    batch = line_batch([0.5, 0.6], {0}, {1}, n_mentions=4)._replace(
        mentions=mentions, entities=np.asarray([0, 0, 1, 1])
    )
    loss = PrototypeTriplet(radius_mean=0.8, radius_spread=0.1)
    for _ in range(500):
        loss(batch)
    # The far mention is always outside; the near ones are 0.5 apart.
    assert loss.radius.values == pytest.approx([0.5, 0.0], abs=0.02)


@pytest.mark.parametrize("entities", [[0, 1], [0, 0]])
def test_without_a_kept_mention_the_radius_stays(entities):
    mentions = np.zeros((2, WIDTH))
    mentions[1, 0] = 5.0
    batch = line_batch([0.5, 0.6], {0}, {1}, n_mentions=2)
    loss = PrototypeTriplet()
    before = loss.to_dict()
    loss(batch._replace(mentions=mentions, entities=np.asarray(entities)))
    assert loss.to_dict() == before


def test_a_state_that_went_through_json_continues_identically():
    batches = [random_batch(seed)[0] for seed in range(12)]
    loss = PrototypeTriplet(radius_mean=1.5)
    for batch in batches[:6]:
        loss(batch)
    assert loss.radius.step > 0
    resumed = PrototypeTriplet(radius_mean=3.0)
    resumed.from_dict(json.loads(json.dumps(loss.to_dict())))
    resumed.rng = np.random.default_rng(1)
    loss.rng = np.random.default_rng(1)
    for batch in batches[6:]:
        assert resumed(batch).loss == loss(batch).loss
    assert resumed.to_dict() == loss.to_dict()


def test_the_seed_chooses_the_anchors():
    batch = random_batch(0)[0]
    losses = [PrototypeTriplet(seed=seed, radius_mean=1.3)(batch).loss for seed in (0, 0, 1, 2, 3)]
    assert losses[0] == losses[1]
    assert len(set(losses)) > 1
