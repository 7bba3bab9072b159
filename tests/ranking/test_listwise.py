import math
from itertools import pairwise

import numpy as np
import pytest
import srsly
from thinc.api import NumpyOps, get_current_ops, set_current_ops

from spacy_metric_el.ranking.listwise import Scorer, ScorerSettings, listwise_loss, make_scorer

from ..gradients import check_parameter

N_FEATURES = 5
RUNS = [3, 0, 1, 4, 2, 0, 5]
SETTINGS = ScorerSettings(epochs=30, batch_size=32, learn_rate=0.02, hidden_width=8)


def offsets_of(runs):
    return np.cumsum([0, *runs])


def made_up(runs=RUNS, seed=0, share=0.4):
    """RETURNS (tuple): Features, offsets and right candidates: none, one or more of a run."""
    rng = np.random.default_rng(seed)
    n = sum(runs)
    features = rng.normal(2.0, 3.0, (n, N_FEATURES)).astype(np.float32)
    return features, offsets_of(runs), rng.random(n) < share


def lesson(n=300, seed=0):
    """The right candidate is the one with the largest first feature, if the second is above 0.

    The second is the same for all candidates of a mention.
    """
    rng = np.random.default_rng(seed)
    runs = rng.integers(1, 5, n)
    offsets = offsets_of(runs)
    features = rng.normal(0.0, 1.0, (offsets[-1], N_FEATURES)).astype(np.float32)
    has_right = rng.choice([-1.0, 1.0], n)
    features[:, 1] = np.repeat(has_right, runs)
    is_right = np.zeros(len(features), dtype=bool)
    for i in np.flatnonzero(has_right > 0):
        is_right[offsets[i] + features[offsets[i] : offsets[i + 1], 0].argmax()] = True
        features[offsets[i] : offsets[i + 1], 0] *= 3.0
    return features, offsets, is_right


def mean_loss(scorer, features, offsets, is_right):
    pairs, nil = scorer.logits(features, offsets)
    return listwise_loss(pairs, nil, offsets, is_right)[0] / (len(offsets) - 1)


def naive_loss(pair_logits, nil_logits, offsets, is_right):
    total = 0.0
    for i, nil in enumerate(nil_logits):
        run = range(offsets[i], offsets[i + 1])
        everything = math.exp(nil) + sum(math.exp(pair_logits[j]) for j in run)
        right = sum(math.exp(pair_logits[j]) for j in run if is_right[j])
        target = right if any(is_right[j] for j in run) else math.exp(nil)
        total -= math.log(target / everything)
    return total


def some_logits(seed):
    features, offsets, is_right = made_up(seed=seed)
    rng = np.random.default_rng(seed + 100)
    return rng.normal(0, 2, len(features)), rng.normal(0, 2, len(RUNS)), offsets, is_right


@pytest.mark.parametrize("seed", range(8))
def test_loss_equals_a_loop(seed):
    logits = some_logits(seed)
    assert listwise_loss(*logits)[0] == pytest.approx(naive_loss(*logits))


@pytest.mark.parametrize("seed", range(8))
def test_gradients_of_the_loss_are_finite_differences(seed):
    pairs, nil, offsets, is_right = some_logits(seed)
    _, d_pairs, d_nil = listwise_loss(pairs, nil, offsets, is_right)
    eps = 1e-5
    for values, gradient in ((pairs, d_pairs), (nil, d_nil)):
        assert gradient.shape == values.shape
        for i in range(len(values)):
            start, losses = values[i], []
            for step in (eps, -eps):
                values[i] = start + step
                losses.append(listwise_loss(pairs, nil, offsets, is_right)[0])
            values[i] = start
            numeric = (losses[0] - losses[1]) / (2 * eps)
            assert gradient[i] == pytest.approx(numeric, abs=1e-5)


def test_loss_of_hopeless_logits_is_finite():
    pairs, nil = np.asarray([0.0, 500.0], np.float32), np.asarray([-500.0], np.float32)
    for is_right in ([True, False], [False, False]):
        results = listwise_loss(pairs, nil, np.asarray([0, 2]), np.asarray(is_right))
        assert results[0] > 20
        assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("part", ["pair_model", "nil_model"])
def test_gradients_of_the_weights_are_finite_differences(part):
    batch = made_up(seed=3)
    scorer = make_scorer(N_FEATURES, SETTINGS)
    # The last layers start at zero, and would send no gradient to the first.
    scorer.fit(*batch, SETTINGS._replace(epochs=3, min_steps=0))
    loss = scorer._step(*batch)
    assert loss / len(RUNS) == pytest.approx(mean_loss(scorer, *batch), rel=1e-5)
    checked = 0
    for node in getattr(scorer, part).walk():
        for name in node.param_names:
            check_parameter(node, name, lambda: mean_loss(scorer, *batch))
            checked += 1
    assert checked == {"pair_model": 6, "nil_model": 2}[part]


def test_probabilities_are_a_softmax_over_candidates_and_none_of_them():
    batch = made_up(seed=1)
    scorer = make_scorer(N_FEATURES, SETTINGS)
    scorer.fit(*batch, SETTINGS)
    features, offsets, _ = batch
    pairs, nil = scorer.logits(features, offsets)
    found = scorer.probabilities(features, offsets)
    assert pairs.std() > 0.1
    assert nil.std() > 0.1
    for i, logit in enumerate(nil):
        run = slice(*offsets[i : i + 2])
        total = np.exp(pairs[run]).sum() + np.exp(logit)
        assert found[run] == pytest.approx(np.exp(pairs[run]) / total, rel=1e-5)
        assert found[run].sum() <= 1.0 + 1e-6


def test_mentions_are_judged_each_for_itself():
    features, offsets, is_right = made_up(seed=1)
    scorer = make_scorer(N_FEATURES, SETTINGS)
    scorer.fit(features, offsets, is_right, SETTINGS)
    together = scorer.probabilities(features, offsets)
    for start, end in pairwise(offsets):
        alone = scorer.probabilities(features[start:end], np.asarray([0, end - start]))
        assert alone == pytest.approx(together[start:end], abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_rule_is_learned_with_none_of_them(seed):
    settings = SETTINGS._replace(seed=seed)
    scorer = make_scorer(N_FEATURES, settings)
    before = mean_loss(scorer, *lesson())
    last = scorer.fit(*lesson(), settings)
    features, offsets, is_right = lesson(seed=seed + 10)
    assert last < 0.5 * before
    assert mean_loss(scorer, features, offsets, is_right) < 0.5 * before
    p = scorer.probabilities(features, offsets)
    right, sums = np.maximum.reduceat(is_right, offsets[:-1]), np.add.reduceat(p, offsets[:-1])
    assert (p[is_right] > 0.5).mean() > 0.9
    assert (sums[~right] < 0.5).mean() > 0.9


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_loss_that_is_returned_is_in_nats_a_mention(batch_size):
    features, offsets, is_right = made_up([2, 2, 2], seed=1)
    is_right[:] = [True, False, False, False, True, True]
    settings = ScorerSettings(epochs=2, batch_size=batch_size, learn_rate=0.0)
    # Weights that start at zero and stay there call all alike.
    loss = make_scorer(N_FEATURES, settings).fit(features, offsets, is_right, settings)
    assert loss == pytest.approx((math.log(3) * 2 + math.log(3 / 2)) / 3)


def test_scales_of_features_do_not_matter():
    features, offsets, is_right = lesson()
    moved = features * np.asarray([100, 1, 1, 7, 1], np.float32) + np.float32(50)
    p = []
    for version in (features, moved):
        scorer = make_scorer(N_FEATURES, SETTINGS)
        scorer.fit(version, offsets, is_right, SETTINGS._replace(epochs=2))
        p.append(scorer.probabilities(version, offsets))
    assert p[0] == pytest.approx(p[1], abs=0.02)


def test_a_feature_that_never_varies_does_no_harm():
    features, offsets, is_right = lesson()
    features[:, 3] = 0.25
    scorer = make_scorer(N_FEATURES, SETTINGS)
    before = mean_loss(scorer, features, offsets, is_right)
    assert scorer.fit(features, offsets, is_right, SETTINGS) < 0.5 * before


def test_nothing_to_fit_or_to_judge():
    none = np.zeros((0, N_FEATURES), dtype=np.float32)
    scorer = make_scorer(N_FEATURES, SETTINGS)
    before = scorer.to_dict()
    for offsets in ([0], [0, 0, 0]):
        offsets = np.asarray(offsets)
        assert scorer.fit(none, offsets, np.zeros(0, dtype=bool), SETTINGS) == 0.0
        assert scorer.probabilities(none, offsets).shape == (0,)
        assert scorer.logits(none, offsets)[1].shape == (len(offsets) - 1,)
    assert scorer.to_dict()["pair_model"] == before["pair_model"]


def test_batches_without_any_candidate():
    features, offsets, is_right = made_up([0, 2, 0, 0], seed=2)
    scorer = make_scorer(N_FEATURES, SETTINGS)
    loss = scorer.fit(features, offsets, is_right, SETTINGS._replace(batch_size=1))
    assert 0.0 < loss < math.log(3)


def weights(seed, features, offsets, is_right):
    settings = SETTINGS._replace(seed=seed, epochs=2)
    scorer = make_scorer(N_FEATURES, settings)
    scorer.fit(features, offsets, is_right, settings)
    return srsly.msgpack_dumps(scorer.to_dict())


def test_the_seed_decides_everything():
    before = np.random.get_state()
    try:
        np.random.seed(7)
        expected = np.random.random(), np.random.random()
        np.random.seed(7)
        found = [np.random.random()]
        first = weights(0, *lesson())
        found.append(np.random.random())
        # The numbers that others draw are not disturbed.
        assert tuple(found) == expected
        assert weights(0, *lesson()) == first
        assert weights(1, *lesson()) != first
    finally:
        np.random.set_state(before)


@pytest.mark.parametrize("goes_through_bytes", [False, True])
def test_a_saved_scorer_gives_the_same_probabilities(goes_through_bytes):
    features, offsets, is_right = lesson()
    scorer = make_scorer(N_FEATURES, SETTINGS)
    scorer.fit(features, offsets, is_right, SETTINGS)
    state = scorer.to_dict()
    if goes_through_bytes:
        state = srsly.msgpack_loads(srsly.msgpack_dumps(state))
    loaded = Scorer(N_FEATURES, SETTINGS.hidden_width).from_dict(state)
    expected = scorer.probabilities(features, offsets)
    assert loaded.probabilities(features, offsets).tolist() == expected.tolist()


class _GPU(NumpyOps):
    """Stands for a GPU's operations, which take no arrays of numpy."""

    name = "gpu"

    def refuse(self, *args, **kwargs):
        raise TypeError("an array of numpy")

    gemm = affine = refuse


def test_a_scorer_stays_on_the_processor():
    batch = made_up()
    ops = get_current_ops()
    set_current_ops(_GPU())
    try:
        scorer = make_scorer(N_FEATURES, SETTINGS)
        scorer.fit(*batch, SETTINGS._replace(epochs=1))
        assert len(scorer.probabilities(*batch[:2])) == len(batch[0])
        assert isinstance(get_current_ops(), _GPU)
    finally:
        set_current_ops(ops)


def test_few_mentions_get_more_passes():
    features, offsets, is_right = made_up(seed=4)
    losses = []
    for min_steps in (0, 60):
        settings = SETTINGS._replace(epochs=1, min_steps=min_steps)
        scorer = make_scorer(N_FEATURES, settings)
        losses.append(scorer.fit(features, offsets, is_right, settings))
    assert losses[1] < 0.8 * losses[0]
