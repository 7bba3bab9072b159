"""Callbacks for `spacy train`."""

from typing import Any

from spacy.language import Language

from ..errors import Errors, MetricELError


class RefreshMiningIndex:
    """Re-embeds the names that hard negatives are mined from, every so many steps.

    Registered as `spacy_metric_el.refresh_mining_index.v1`, for `training.before_update`.

    every (int): Steps between refreshes, 1 or more.
    component (str): Name of the linker.
    RAISES (MetricELError): E232 for a number of steps below 1.
    """

    def __init__(self, every: int = 500, component: str = "metric_entity_linker") -> None:
        if every < 1:
            raise MetricELError(Errors.E232.format(every=every))
        self.every = every
        self.component = component

    def __call__(self, nlp: Language, info: dict[str, Any]) -> None:
        """Called before each update with {"step": int, "epoch": int}."""
        if info["step"] and info["step"] % self.every == 0:
            nlp.get_pipe(self.component).refresh_mining_index()  # type: ignore[attr-defined]
