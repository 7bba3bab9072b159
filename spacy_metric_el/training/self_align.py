"""Self-alignment: learning from the synonyms of a knowledge base, without annotated text."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Adam, Optimizer, set_dropout_rate, warmup_linear
from tqdm import tqdm

from ..encoding.feeding import feeding_pipes
from ..errors import Errors, MetricELError
from ..kb.records import Records
from .step import synonym_gradients

if TYPE_CHECKING:
    from ..pipeline.linker import MetricEntityLinker

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

    Each name is a mention. Where names have a context channel it is a document of its
    own, so that encoder and linker learn as they do from annotated text; where they have
    none, only the surface channel learns, and no encoder is run.
    Source: Liu et al. 2021 (SapBERT), self-alignment pretraining.

    nlp (Language): The pipeline; other components than those that the linker needs rest.
    linker (MetricEntityLinker): With a knowledge base.
    steps (int): Batches.
    size (int): Names in a batch.
    learn_rate (float): Adam's highest, for the linker's own layers; `learn_rate_factor`
        times that of an encoder that it listens to.
    seed (int): Of the drawing of names.
    dropout (float): As in training.
    progress (bool): Whether to show a progress bar.
    RETURNS (float): The loss of the last tenth of the steps, averaged.
    RAISES (MetricELError): E233 if no concept has two names or more.
    """
    name_context = linker.model.get_ref("head").attrs["name_context"]
    update = partial(_update_pipeline, nlp) if name_context else _update_surface
    batches = synonym_batches(linker.kb.records, size=size, seed=seed)
    highest = learn_rate / linker.cfg["learn_rate_factor"]
    schedule: Any = warmup_linear(highest, max(1, int(WARM_UP * steps)), steps + 1)
    optimizer = Adam(schedule, L2=0.0, grad_clip=1.0)
    losses: list[float] = []
    memory_weight, linker.cfg["memory_weight"] = linker.cfg["memory_weight"], 0.0
    try:
        for _ in tqdm(range(steps), desc="Aligning synonyms", disable=not progress):
            # The schedule starts at 0, where a step would teach nothing.
            optimizer.step_schedules()
            losses.append(update(linker, next(batches), optimizer, dropout))
    finally:
        linker.cfg["memory_weight"] = memory_weight
    return float(np.mean(losses[-max(1, steps // 10) :])) if losses else 0.0


def synonym_batches(records: Records, *, size: int, seed: int) -> Iterator[list[tuple[str, int]]]:
    """Draw batches of names, without end.

    records (Records): The vocabulary.
    size (int): Names in a batch, about.
    seed (int): Of the draws.
    YIELDS (list[tuple[str, int]]): Names and their entities; two names or more of each.
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
            batch = []
            for entity in order[start : start + per_batch].tolist():
                names = records.entity_names[offsets[entity] : offsets[entity + 1]]
                drawn = records.names["name"].take(rng.permutation(names)[:NAMES_PER_ENTITY])
                batch += [(name, entity) for name in drawn.to_pylist()]
            yield batch


def _update_surface(
    linker: "MetricEntityLinker",
    batch: Sequence[tuple[str, int]],
    optimizer: Optimizer,
    dropout: float,
) -> float:
    set_dropout_rate(linker.model, dropout)
    texts, entities = zip(*batch, strict=True)
    known = [[entity] for entity in entities]
    loss = synonym_gradients(linker, texts, known, linker.training_names())
    linker.encoder.set_fitted()
    linker.finish_update(optimizer)
    return loss


def _update_pipeline(
    nlp: Language,
    linker: "MetricEntityLinker",
    batch: Sequence[tuple[str, int]],
    optimizer: Optimizer,
    dropout: float,
) -> float:
    feeds = feeding_pipes(nlp, linker.model)
    resting = [
        name for name, pipe in nlp.pipeline if pipe is not linker and not _trains(pipe, feeds)
    ]
    examples = [_example(nlp, name, linker.kb.records.concept_id(e)) for name, e in batch]
    examples = [example for example in examples if len(example.predicted)]
    losses = nlp.update(examples, sgd=optimizer, drop=dropout, exclude=resting)
    return losses[linker.name]


def _example(nlp: Language, name: str, concept_id: str) -> Example:
    doc = nlp.make_doc(name)
    reference = doc.copy()
    if len(doc):
        reference.set_ents([Span(reference, 0, len(doc), label=LABEL, kb_id=concept_id)])
    return Example(doc, reference)


def _trains(pipe: object, feeds: list) -> bool:
    return any(pipe is feeding for feeding in feeds) and hasattr(pipe, "update")
