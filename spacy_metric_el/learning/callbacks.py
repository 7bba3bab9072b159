"""Callbacks for `spacy train`."""

from typing import Any

from spacy.language import Language

from ..errors import Errors, MetricELError


class RefreshMiningIndex:
    """Re-embeds the names that hard negatives are mined from, every so many steps.

    every (int): Steps between refreshes, at least 1.
    component (str): Name of the linker.
    RAISES (MetricELError): E232 for a number of steps below 1.
    """

    def __init__(self, every: int, component: str = "metric_entity_linker") -> None:
        if every < 1:
            raise MetricELError(Errors.E232.format(every=every))
        self.every = every
        self.component = component

    def __call__(self, nlp: Language, info: dict[str, Any]) -> None:
        """Called before each update with {"step": int, "epoch": int}."""
        if info["step"] and info["step"] % self.every == 0:
            nlp.get_pipe(self.component).refresh_mining_index()  # type: ignore[attr-defined]


def build_refresh_mining_index(
    every: int = 500, component: str = "metric_entity_linker"
) -> RefreshMiningIndex:
    """Construct the callback (registered as `spacy_metric_el.refresh_mining_index.v1`).

    Use it as `training.before_update`. See `RefreshMiningIndex`.
    """
    return RefreshMiningIndex(every, component)
