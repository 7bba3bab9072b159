"""Clusters inside a learned radius, the hard negative, and the triplet loss."""

from collections.abc import Sequence

import torch
from torch import Tensor

MARGIN = 1.2


class LearnedRadius:
    """Mean and standard deviation of the batches' largest kept distance to an anchor.

    mean (float): Start of the mean.
    deviation (float): Start of the standard deviation.
    learn_rate (float): Of the Adam that both have to themselves.
    """

    def __init__(
        self, mean: float = 10.0, deviation: float = 1.0, learn_rate: float = 1e-2
    ) -> None:
        self.mean = torch.tensor(mean, requires_grad=True)
        self.deviation = torch.tensor(deviation, requires_grad=True)
        self._optimizer = torch.optim.Adam([self.mean, self.deviation], lr=learn_rate)

    @property
    def threshold(self) -> float:
        """RETURNS (float): mean + 1.5 standard deviations."""
        return float(self.mean.detach() + 1.5 * self.deviation.detach())

    def update(self, largest: float) -> None:
        """Take a step towards a batch.

        largest (float): Its largest kept distance; the mean is drawn to it, and the
            deviation to its distance from the mean, both by the squared error.
        """
        gap = abs(largest - float(self.mean.detach()))
        loss = (self.mean - largest) ** 2 + (self.deviation - gap) ** 2
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


def form_cluster(mentions: Tensor, anchor: int, threshold: float) -> tuple[Tensor, float]:
    """Keep the mentions of a unit that are near its anchor.

    mentions (Tensor): (n, width), of one unit.
    anchor (int): One of them, drawn.
    threshold (float): Euclidean; mentions that are not nearer are left out of this step.
    RETURNS (tuple[Tensor, float]): (n,) bool, the kept ones and always the anchor, and
        the largest distance among them; 0 where the anchor is alone.
    """
    distances = torch.linalg.vector_norm(mentions.detach() - mentions[anchor].detach(), dim=1)
    kept = distances < threshold
    kept[anchor] = True
    return kept, float(distances[kept].max())


def hardest_negatives(anchors: Tensor, candidates: Tensor, is_gold: Tensor) -> Tensor:
    """Mine the candidate nearest to each anchor.

    anchors (Tensor): (units, width).
    candidates (Tensor): (candidates, width), those of the whole batch.
    is_gold (Tensor): (units, candidates) bool, the unit's own entity.
    RETURNS (Tensor): (units,) places in `candidates`; -1 where all are gold.
    """
    distances = torch.cdist(anchors, candidates).masked_fill(is_gold, float("inf"))
    nearest = distances.argmin(1)
    nearest[is_gold.all(1)] = -1
    return nearest


def gold_mask(entities: Sequence[int], candidates: Sequence[int]) -> Tensor:
    """RETURNS (Tensor): (units, candidates) bool, where a candidate is the unit's entity."""
    return torch.tensor(entities)[:, None] == torch.tensor(candidates)[None, :]


def triplet_loss(
    prototypes: Tensor, positives: Tensor, negatives: Tensor, *, margin: float = MARGIN
) -> Tensor:
    """Mean hinge of the Euclidean distances.

    prototypes (Tensor): (units, width), the mean of each cluster.
    positives (Tensor): (units, width), its entity.
    negatives (Tensor): (units, width), its hard negative.
    margin (float): By which the entity has to be nearer.
    RETURNS (Tensor): The loss.
    """
    near = torch.linalg.vector_norm(prototypes - positives, dim=1)
    far = torch.linalg.vector_norm(prototypes - negatives, dim=1)
    return torch.relu(near - far + margin).mean()
