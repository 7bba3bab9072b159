"""Callbacks for `spacy train`."""

from typing import Any, Protocol, cast

from spacy.language import Language

from ..errors import Errors, MetricELError


class HasRanker(Protocol):
    """What the callback asks of a component."""

    def fit_ranker(self, nlp: Language) -> None:
        """Fit the ranker to the corpus that the component was initialized with."""
        ...


class FitRanker:
    """Fits the linker's ranker to the training corpus, every so many steps.

    Registered as `spacy_metric_el.fit_ranker.v1`, for `training.before_update`. With
    `every` equal to `eval_frequency`, each evaluation after the first has a fitted one.

    every (int): Steps between fits, 1 or more.
    component (str): Name of the linker.
    RAISES (MetricELError): E232 for a number of steps below 1.
    """

    def __init__(self, every: int = 200, component: str = "metric_entity_linker") -> None:
        if every < 1:
            raise MetricELError(Errors.E232.format(every=every))
        self.every = every
        self.component = component

    def __call__(self, nlp: Language, info: dict[str, Any]) -> None:
        """Fit the ranker if it is time; called before each update with {"step": int, "epoch": int}."""
        if info["step"] and info["step"] % self.every == 0:
            cast(HasRanker, nlp.get_pipe(self.component)).fit_ranker(nlp)
