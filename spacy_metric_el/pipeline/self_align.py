"""Self-alignment: learning from the synonyms of a knowledge base, without annotated text."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Adam, warmup_linear
from tqdm import tqdm

from ..errors import Errors, MetricELError
from ..kb.records import Records
from ..model.feeding import feeding_pipes

if TYPE_CHECKING:
    from .linker import MetricEntityLinker

NAMES_PER_ENTITY = 4
"""Names of an entity in a batch, at most."""

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls in a straight line."""

LABEL = "CONCEPT"


def self_align(
    nlp: Language,
    linker: "MetricEntityLinker",
    *,
    steps: int,
    size: int,
    learn_rate: float,
    seed: int,
    dropout: float = 0.1,
    progress: bool = False,
) -> float:
    """Pull the names of each concept together, and those of others away.

    Each name is a document of its own whose only mention is the whole name, so that
    encoder and linker learn as they do from annotated text.
    Source: Liu et al. 2021 (SapBERT), self-alignment pretraining.

    nlp (Language): The pipeline; other components than those that the linker needs rest.
    linker (MetricEntityLinker): With a knowledge base.
    steps (int): Batches.
    size (int): Names in a batch.
    learn_rate (float): Adam's highest.
    seed (int): Of the drawing of names.
    dropout (float): As in training.
    progress (bool): Whether to show a progress bar.
    RETURNS (float): The loss of the last tenth of the steps, averaged.
    RAISES (MetricELError): E233 if no concept has two names or more.
    """
    feeds = feeding_pipes(nlp, linker.model)
    resting = [
        name for name, pipe in nlp.pipeline if pipe is not linker and not _trains(pipe, feeds)
    ]
    batches = synonym_batches(nlp, linker.kb.records, size=size, seed=seed)
    schedule: Any = warmup_linear(learn_rate, max(1, int(WARM_UP * steps)), steps + 1)
    optimizer = Adam(schedule, L2=0.0, grad_clip=1.0)
    losses: list[float] = []
    memory_weight, linker.cfg["memory_weight"] = linker.cfg["memory_weight"], 0.0
    try:
        for _ in tqdm(range(steps), desc="Aligning synonyms", disable=not progress):
            # The schedule starts at 0, where a step would teach nothing.
            optimizer.step_schedules()
            found = nlp.update(next(batches), sgd=optimizer, drop=dropout, exclude=resting)
            losses.append(found[linker.name])
    finally:
        linker.cfg["memory_weight"] = memory_weight
    return float(np.mean(losses[-max(1, steps // 10) :])) if losses else 0.0


def synonym_batches(
    nlp: Language, records: Records, *, size: int, seed: int
) -> Iterator[list[Example]]:
    """Draw batches of names, without end.

    nlp (Language): The pipeline whose tokenizer is used.
    records (Records): The vocabulary.
    size (int): Names in a batch, about.
    seed (int): Of the draws.
    YIELDS (list[Example]): The words of a name as predicted, its concept as reference;
        two names or more of each concept.
    RAISES (MetricELError): E233 if no concept has two names or more.
    """
    rng = np.random.default_rng(seed)
    offsets = records.entity_offsets
    eligible = np.flatnonzero(np.diff(offsets) > 1)
    if not len(eligible):
        raise MetricELError(Errors.E233)
    per_batch = max(2, size // NAMES_PER_ENTITY)
    while True:
        order = rng.permutation(eligible)
        for start in range(0, len(order), per_batch):
            yield [
                example
                for entity in order[start : start + per_batch]
                for example in _examples(nlp, records, int(entity), rng)
            ]


def _examples(
    nlp: Language, records: Records, entity: int, rng: np.random.Generator
) -> Iterator[Example]:
    names = records.entity_names[
        records.entity_offsets[entity] : records.entity_offsets[entity + 1]
    ]
    drawn = rng.permutation(names)[:NAMES_PER_ENTITY]
    for name in records.names["name"].take(drawn).to_pylist():
        doc = nlp.make_doc(name)
        if len(doc):
            reference = doc.copy()
            concept_id = records.concept_id(entity)
            reference.set_ents([Span(reference, 0, len(doc), label=LABEL, kb_id=concept_id)])
            yield Example(doc, reference)


def _trains(pipe: object, feeds: list) -> bool:
    return any(pipe is feeding for feeding in feeds) and hasattr(pipe, "update")
