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


class FitRanker:
    """Fits the linker's ranker to the training corpus, every so many steps.

    Registered as `spacy_metric_el.fit_ranker.v1`, for `training.before_update`. With
    `every` equal to `eval_frequency`, each evaluation after the first has a fitted one.

    every (int): Steps between fits, 1 or more.
    component (str): Name of the linker.
    refresh_mining_index (bool): Whether to re-embed the names that hard negatives are
        mined from as well, as `RefreshMiningIndex` does.
    RAISES (MetricELError): E232 for a number of steps below 1.
    """

    def __init__(
        self,
        every: int = 200,
        component: str = "metric_entity_linker",
        refresh_mining_index: bool = True,
    ) -> None:
        if every < 1:
            raise MetricELError(Errors.E232.format(every=every))
        self.every = every
        self.component = component
        self.refresh_mining_index = refresh_mining_index

    def __call__(self, nlp: Language, info: dict[str, Any]) -> None:
        """Called before each update with {"step": int, "epoch": int}."""
        if info["step"] and info["step"] % self.every == 0:
            linker: Any = nlp.get_pipe(self.component)
            if self.refresh_mining_index:
                linker.refresh_mining_index()
            linker.fit_ranker(nlp)


class SelfAlign:
    """Aligns the synonyms of the knowledge base before training on annotated text.

    Registered as `spacy_metric_el.self_align.v1`, for `initialize.after_init`.

    steps (int): Batches, 1 or more.
    size (int): Names in a batch.
    learn_rate (float): Adam's highest.
    component (str): Name of the linker.
    seed (int): Of the drawing of names.
    RAISES (MetricELError): E234 for a setting out of range.
    """

    def __init__(
        self,
        steps: int = 150,
        size: int = 512,
        learn_rate: float = 0.002,
        component: str = "metric_entity_linker",
        seed: int = 0,
    ) -> None:
        if steps < 1 or size < 1 or learn_rate <= 0:
            raise MetricELError(Errors.E234.format(steps=steps, size=size, learn_rate=learn_rate))
        self.settings = {"steps": steps, "size": size, "learn_rate": learn_rate, "seed": seed}
        self.component = component

    def __call__(self, nlp: Language) -> Language:
        """Called once, with the initialized pipeline. RETURNS (Language): The same."""
        linker: Any = nlp.get_pipe(self.component)
        linker.self_align(nlp, **self.settings, progress=True)
        return nlp
