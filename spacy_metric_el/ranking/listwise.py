"""A small network that weighs evidence: logits of candidates, and of "none of them"."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from thinc.api import Adam, Linear, Model, Relu, add, chain, use_ops, warmup_linear, zero_init
from tqdm import tqdm

from ..segments import offsets_of_lengths, segment_max, segment_softmax, segment_sum, spread


class ScorerSettings(NamedTuple):
    """How a scorer is built and fitted.

    hidden_width (int): Units of the hidden layer; beside it there is a linear layer.
    epochs (int): Passes over the mentions.
    min_steps (int): On few mentions there are more passes, until there are so many steps.
    batch_size (int): Mentions of a step.
    learn_rate (float): Adam's first step; it falls to 0 in a straight line.
    seed (int): Of weights and order.
    """

    hidden_width: int = 64
    epochs: int = 6
    min_steps: int = 100
    batch_size: int = 256
    learn_rate: float = 0.005
    seed: int = 0


class Scorer:
    """Weighs the evidence for candidates.

    n_features (int): Numbers that speak for a pair.
    hidden_width (int): Units of the hidden layer.
    """

    def __init__(self, n_features: int, hidden_width: int) -> None:
        self.n_features = n_features
        self.mean = np.zeros(n_features, dtype=np.float32)
        self.scale = np.ones(n_features, dtype=np.float32)
        # The evidence is in numpy's arrays, wherever the encoder is.
        with use_ops("numpy"):
            hidden = chain(
                Relu(nO=hidden_width, nI=n_features),
                Linear(nO=1, nI=hidden_width, init_W=zero_init),
            )
            self.pair_model: Model = add(hidden, Linear(nO=1, nI=n_features, init_W=zero_init))
            self.nil_model: Model = Linear(nO=1, nI=n_features, init_W=zero_init)
            self.pair_model.initialize()
            self.nil_model.initialize()

    def logits(self, features: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weigh the evidence.

        features (np.ndarray): (p, n_features) float32, pairs in runs.
        offsets (np.ndarray): (n + 1,) int, where the runs of the mentions start and end.
        RETURNS (tuple[np.ndarray, np.ndarray]): (p,) logits of the candidates, and (n,)
            of "none of them"; float32.
        """
        scaled = self._scaled(features)
        pairs = self.pair_model.predict(scaled)[:, 0] if len(scaled) else np.zeros(0, np.float32)
        return pairs, self.nil_model.predict(segment_max(scaled, offsets, 0.0))[:, 0]

    def probabilities(self, features: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """RETURNS (np.ndarray): (p,) float32, the probability that a candidate is right; a run's sum is at most 1."""
        pairs, nil = self.logits(features, offsets)
        return segment_softmax(pairs, offsets, nil)

    def fit(
        self,
        features: np.ndarray,
        offsets: np.ndarray,
        is_right: np.ndarray,
        settings: ScorerSettings,
        *,
        progress: bool = False,
    ) -> float:
        """Fit the weights by listwise maximum likelihood.

        A mention none of whose candidates is right teaches "none of them".

        features (np.ndarray): (p, n_features) float32, pairs in runs.
        offsets (np.ndarray): (n + 1,) int, where the runs of the mentions start and end.
        is_right (np.ndarray): (p,) bool, whether the candidate is a gold one.
        settings (ScorerSettings): How to fit.
        progress (bool): Whether to show a progress bar.
        RETURNS (float): The mean loss of the last epoch, in nats.
        """
        n = len(offsets) - 1
        if not len(features):
            return 0.0
        self.mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = features.std(axis=0, dtype=np.float64)
        # What never varied has no weight: scaled up, its first value ever would drown the rest.
        varies = deviation > 1e-5
        self.scale = np.where(varies, 1.0 / (deviation + 1e-3), 0.0).astype(np.float32)
        rng = np.random.default_rng(settings.seed)
        n_batches = -(-n // settings.batch_size)
        epochs = max(settings.epochs, -(-settings.min_steps // n_batches))
        total, loss = epochs * n_batches, 0.0
        schedule: Any = warmup_linear(settings.learn_rate, 0, total)
        optimizer = Adam(schedule, L2=0.0, grad_clip=0.0)
        with tqdm(total=total, desc="Fitting the ranker", disable=not progress) as bar:
            for _ in range(epochs):
                losses = []
                for batch in _batches(rng.permutation(n), settings.batch_size):
                    lengths = offsets[batch + 1] - offsets[batch]
                    _, pairs = spread(offsets[batch], lengths)
                    runs = offsets_of_lengths(lengths)
                    losses.append(self._step(features[pairs], runs, is_right[pairs]) / len(batch))
                    self.pair_model.finish_update(optimizer)
                    self.nil_model.finish_update(optimizer)
                    optimizer.step_schedules()
                    bar.update(1)
                loss = float(np.mean(losses))
        return loss

    def _step(self, features: np.ndarray, offsets: np.ndarray, is_right: np.ndarray) -> float:
        scaled = self._scaled(features)
        pair_logits, backprop_pairs = self.pair_model.begin_update(scaled)
        nil_logits, backprop_nil = self.nil_model.begin_update(segment_max(scaled, offsets, 0.0))
        loss, d_pairs, d_nil = listwise_loss(pair_logits[:, 0], nil_logits[:, 0], offsets, is_right)
        n = max(len(offsets) - 1, 1)
        backprop_pairs((d_pairs / n)[:, None])
        backprop_nil((d_nil / n)[:, None])
        return loss

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray((features - self.mean) * self.scale, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): Weights and scales, as arrays and bytes."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "pair_model": self.pair_model.to_bytes(),
            "nil_model": self.nil_model.to_bytes(),
        }

    def from_dict(self, state: dict[str, Any]) -> "Scorer":
        """RETURNS (Scorer): Itself, with the weights that `to_dict` gave."""
        self.mean, self.scale = state["mean"], state["scale"]
        self.pair_model.from_bytes(state["pair_model"])
        self.nil_model.from_bytes(state["nil_model"])
        return self


def make_scorer(n_features: int, settings: ScorerSettings) -> Scorer:
    """RETURNS (Scorer): A scorer whose first weights come of the seed alone."""
    state = np.random.get_state()
    np.random.seed(settings.seed)
    try:
        return Scorer(n_features, settings.hidden_width)
    finally:
        np.random.set_state(state)


def listwise_loss(
    pair_logits: np.ndarray, nil_logits: np.ndarray, offsets: np.ndarray, is_right: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Compute the negative log-likelihood of the right candidates, or of "none of them".

    With several right candidates (a composite mention), it is that of any of them.

    pair_logits (np.ndarray): (p,) float32, in runs.
    nil_logits (np.ndarray): (n,) float32.
    offsets (np.ndarray): (n + 1,) int, where the runs start and end.
    is_right (np.ndarray): (p,) bool.
    RETURNS (tuple[float, np.ndarray, np.ndarray]): The loss, summed over mentions, and
        its gradients, (p,) and (n,).
    """
    lengths = np.diff(offsets)
    p = segment_softmax(pair_logits, offsets, nil_logits)
    p_nil = 1.0 - segment_sum(p, offsets)
    right = segment_sum(np.where(is_right, p, 0.0), offsets)
    is_linked = segment_max(is_right, offsets, False)
    target = np.where(is_linked, right, p_nil)
    share = np.where(is_right, p, 0.0) / np.repeat(np.maximum(right, 1e-12), lengths)
    d_pairs = (p - share).astype(np.float32)
    d_nil = (p_nil - ~is_linked).astype(np.float32)
    return float(-np.log(np.maximum(target, 1e-12)).sum()), d_pairs, d_nil


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
