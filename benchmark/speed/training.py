"""Mentions trained on a second: by `spacy train`'s steps, and in the way of the published method."""

import random
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import torch
from spacy.training.initialize import init_nlp
from spacy.util import registry, resolve_dot_names

from spacy_metric_el.corpus.gold import gold_mentions

from ..rows.ours import ConfiguredRow
from ..rows.published.candidates import CandidateIndex
from ..rows.published.clusters import LearnedRadius
from ..rows.published.encoders import WordpieceEncoders
from ..rows.published.row import describe_entities
from ..rows.published.train import BATCH_SIZE, train_step
from ..rows.published.units import form_units
from ..task import Task
from ..wordpieces import find_model
from .encoders import encoder_settings


def measure_training(task: Task, *, seconds: float) -> dict[str, Any]:
    """Take training steps with MiniLM in both ways, in float32, on one thread.

    The published method encodes each mention in its sentence, and anew the 64 candidates
    of one mention of each unit, which are the mentions of an entity in a document; an
    entity that is a candidate of several units of a step is encoded once.

    task (Task): Knowledge base and training corpus.
    seconds (float): That each of them may take, after a first step; the step that is
        begun is ended.
    RETURNS (dict[str, Any]): Mentions, steps and seconds of each way.
    RAISES (MetricELError): E406 without the weights' package.
    """
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for way, steps in (("ours", our_steps(task)), ("published", published_steps(task))):
        for key, value in measure_steps(steps, seconds).items():
            found[f"{way}_{key}"] = value
    return found


def measure_steps(steps: Iterator[int], seconds: float) -> dict[str, Any]:
    """Take steps until the time is up.

    steps (Iterator[int]): Takes a step whenever it is asked, and gives its mentions.
    seconds (float): That they may take; the first step is not counted.
    RETURNS (dict[str, Any]): `mentions`, `steps` and `seconds`.
    """
    next(steps)
    started = perf_counter()
    mentions: list[int] = []
    while not mentions or perf_counter() - started < seconds:
        mentions.append(next(steps))
    return {
        "mentions": sum(mentions),
        "steps": len(mentions),
        "seconds": perf_counter() - started,
    }


def our_steps(task: Task) -> Iterator[int]:
    """YIELDS (int): Mentions of the step of `configs/minilm.cfg` that was just taken: those that it learns from."""
    with encoder_settings("minilm") as (path, overrides):
        row = ConfiguredRow(path, "trained", overrides=overrides)
        config = row.configure(task)
        row.take(init_nlp(config), path)
    nlp, records = row.nlp, row.linker.kb.records
    training = registry.resolve(config.interpolate()["training"])
    (corpus,) = resolve_dot_names(nlp.config.interpolate(), [training["train_corpus"]])
    optimizer = training["optimizer"]
    while True:
        for batch in training["batcher"](corpus(nlp)):
            nlp.update(batch, drop=training["dropout"], sgd=optimizer)
            optimizer.step_schedules()
            gold = [mention for example in batch for mention in gold_mentions(example)]
            yield sum(bool(records.entity_indices(mention.concept_ids)) for mention in gold)


def published_steps(task: Task) -> Iterator[int]:
    """YIELDS (int): Mentions of the step of the published method that was just taken."""
    torch.manual_seed(task.seed)
    encoders = WordpieceEncoders(find_model(), precision="float32")
    corpus, draw, radius = task.train_corpus(), random.Random(task.seed), LearnedRadius()
    candidates, texts = CandidateIndex(task.names), describe_entities(task.kb, task.names)
    places = {concept_id: i for i, concept_id in enumerate(task.names.concepts)}
    units = form_units(corpus, places, seed=task.seed)
    while True:
        batch = draw.sample(units, min(BATCH_SIZE, len(units)))
        train_step(encoders, batch, corpus, candidates, texts, radius, draw)
        yield sum(len(unit.mentions) for unit in batch)
