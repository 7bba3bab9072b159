"""Training: clusters of (entity, document) units against mined candidates, within a budget."""

import random
from collections.abc import Sequence
from math import ceil
from time import perf_counter
from typing import Any

import torch
from tqdm import tqdm

from ...mentions import Corpus
from .candidates import CandidateIndex
from .clusters import LearnedRadius, form_cluster, gold_mask, hardest_negatives, triplet_loss
from .encoders import Encoders
from .units import Unit, make_context

BATCH_SIZE = 32
"""Units of a step."""

EPOCHS = 3


def train_within(
    encoders: Encoders,
    units: Sequence[Unit],
    corpus: Corpus,
    candidates: CandidateIndex,
    entity_texts: Sequence[Sequence[str]],
    *,
    minutes: float,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Train for three epochs, or until the time is up.

    encoders (Encoders): The two encoders.
    units (Sequence[Unit]): What to train on.
    corpus (Corpus): The documents and mentions of the units.
    candidates (CandidateIndex): Of mention strings.
    entity_texts (Sequence[Sequence[str]]): Types and names of each entity.
    minutes (float): The budget; the step that is begun is ended.
    seed (int): Of order, anchors and dropout.
    progress (bool): Whether to show a progress bar.
    RETURNS (dict[str, Any]): `units`, `steps`, `epochs`, `steps_of_full_training`,
        `hours_of_full_training` at this speed, `radius`, and the `first_loss` and
        `last_loss` (means of 10 steps).
    """
    draw = random.Random(seed)
    torch.manual_seed(seed)
    radius = LearnedRadius()
    per_epoch = ceil(len(units) / BATCH_SIZE)
    losses: list[float] = []
    started = perf_counter()
    order: list[Unit] = []
    with tqdm(
        total=EPOCHS * per_epoch, desc="Training", unit=" steps", disable=not progress
    ) as bar:
        while len(losses) < EPOCHS * per_epoch and perf_counter() - started < 60 * minutes:
            order = order or draw.sample(list(units), len(units))
            batch, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
            losses.append(
                train_step(encoders, batch, corpus, candidates, entity_texts, radius, draw)
            )
            bar.update()
    seconds = perf_counter() - started
    return {
        "units": len(units),
        "steps": len(losses),
        "epochs": len(losses) / max(per_epoch, 1),
        "steps_of_full_training": EPOCHS * per_epoch,
        "hours_of_full_training": seconds / max(len(losses), 1) * EPOCHS * per_epoch / 3600,
        "radius": radius.threshold,
        "first_loss": sum(losses[:10]) / max(len(losses[:10]), 1),
        "last_loss": sum(losses[-10:]) / max(len(losses[-10:]), 1),
    }


def train_step(
    encoders: Encoders,
    batch: Sequence[Unit],
    corpus: Corpus,
    candidates: CandidateIndex,
    entity_texts: Sequence[Sequence[str]],
    radius: LearnedRadius,
    draw: random.Random,
) -> float:
    """Take one step.

    The candidates are encoded anew, without gradient; the negatives that were mined
    among them are encoded once more, with it.

    batch (Sequence[Unit]): One or more units.
    radius (LearnedRadius): Is updated too.
    draw (random.Random): Draws the anchors.
    RETURNS (float): The loss; 0 if no unit has a negative.
    """
    mentions = [corpus.mentions[i] for unit in batch for i in unit.mentions]
    contexts = [make_context(corpus.docs[mention.doc], mention) for mention in mentions]
    vectors = encoders.mentions(contexts, grad=True)
    prototypes, anchors, texts, largest = [], [], [], 0.0
    start = 0
    for unit in batch:
        part = vectors[start : start + len(unit.mentions)]
        anchor = draw.randrange(len(unit.mentions))
        kept, distance = form_cluster(part, anchor, radius.threshold)
        largest = max(largest, distance)
        prototypes.append(part[kept].mean(0))
        anchors.append(part[anchor].detach())
        texts.append(mentions[start + anchor].text)
        start += len(unit.mentions)
    pool = sorted({entity for found in candidates.find(texts) for entity in found})
    rows: list[int] = []
    if pool:
        pool_vectors = encoders.entities([entity_texts[entity] for entity in pool])
        mask = gold_mask([unit.entity for unit in batch], pool)
        mined = hardest_negatives(torch.stack(anchors), pool_vectors, mask).tolist()
        rows = [i for i, place in enumerate(mined) if place >= 0]
    loss = vectors.sum() * 0.0
    if rows:
        wanted = [batch[i].entity for i in rows] + [pool[mined[i]] for i in rows]
        encoded = encoders.entities([entity_texts[entity] for entity in wanted], grad=True)
        positives, negatives = encoded[: len(rows)], encoded[len(rows) :]
        loss = triplet_loss(torch.stack([prototypes[i] for i in rows]), positives, negatives)
    loss.backward()
    encoders.step()
    if largest > 0.0:
        radius.update(largest)
    return loss.item()
