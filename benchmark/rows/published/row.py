"""The published method as a row of the table."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from tqdm import tqdm

from spacy_metric_el.kb import FaissKnowledgeBase

from ...errors import BenchmarkError, Errors
from ...mentions import Corpus
from ...names import Candidates, NameTable
from ...task import TOP_K, Task, Training
from ...wordpieces import find_model
from .candidates import N_CANDIDATES, CandidateIndex
from .clusters import MARGIN
from .cnn import CnnEncoders
from .encoders import Encoders, WordpieceEncoders
from .train import EPOCHS, train_within
from .units import form_units, make_context

ENCODERS = ("minilm", "cnn")
BATCH_SIZE = 256
"""Mentions, or entities, that are encoded at a time when linking."""


class PublishedRow:
    """Two encoders trained by a triplet loss; the nearest of a mention's 64 candidates wins.

    encoder (str): `minilm`, or `cnn` for spaCy's HashEmbedCNN.
    model (str): Folder of a BERT in place of all-MiniLM-L6-v2.
    budget_minutes (float): What training may take.
    precision (str): As for `WordpieceModel`.
    """

    def __init__(
        self,
        *,
        name: str = "published",
        encoder: str = "minilm",
        model: str = "",
        budget_minutes: float = 5.0,
        precision: str = "auto",
    ) -> None:
        if encoder not in ENCODERS:
            expected = " or ".join(map(repr, ENCODERS))
            raise BenchmarkError(
                Errors.E410.format(setting="encoder", value=encoder, expected=expected)
            )
        self.name = name
        self.encoder, self.budget_minutes, self.precision = encoder, budget_minutes, precision
        self.folder = find_model(model) if encoder == "minilm" else None
        self.settings: dict[str, Any] = {
            "encoder": encoder,
            "budget_minutes": budget_minutes,
            "candidates": N_CANDIDATES,
            "margin": MARGIN,
        }
        self.notes: list[str] = []
        self.depth = TOP_K
        self.encoders: Encoders

    def train(self, task: Task) -> Training:
        """Index the names for candidates, form the units, and train until the time is up."""
        started = perf_counter()
        self.candidates = CandidateIndex(task.names)
        self.entity_texts = describe_entities(task.kb, task.names)
        self.concepts = task.names.concepts
        if self.folder is not None:
            # The markers' vectors are drawn.
            torch.manual_seed(task.seed)
            encoders = WordpieceEncoders(self.folder, precision=self.precision)
            self.settings["precision"] = encoders.precision
            self.encoders = encoders
        else:
            self.encoders = CnnEncoders(task.nlp, seed=task.seed)
        corpus = task.train_corpus()
        places = {concept_id: i for i, concept_id in enumerate(self.concepts)}
        units = form_units(corpus, places, seed=task.seed)
        build_seconds = perf_counter() - started
        started = perf_counter()
        details = train_within(
            self.encoders,
            units,
            corpus,
            self.candidates,
            self.entity_texts,
            minutes=self.budget_minutes,
            seed=task.seed,
            progress=task.progress,
        )
        self.progress = task.progress
        self._vectors: dict[int, torch.Tensor] = {}
        self.notes.append(
            f"{details['steps']:,} of {details['steps_of_full_training']:,} steps of its "
            f"{EPOCHS} epochs, which would take {details['hours_of_full_training']:.1f} hours"
        )
        return Training(build_seconds, perf_counter() - started, details)

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """Rank the candidates of each mention by distance.

        Each entity is encoded once, not once for each mention as the method has it:
        the vectors are the same.

        corpus (Corpus): The mentions.
        top_k (int): Candidates of each.
        RETURNS (list[Candidates]): The score is the Euclidean distance, negated.
        """
        mentions = corpus.mentions
        candidates = self.candidates.find([mention.text for mention in mentions])
        self._encode_entities(sorted({entity for found in candidates for entity in found}))
        ranked: list[Candidates] = []
        for start in tqdm(
            range(0, len(mentions), BATCH_SIZE), desc="Linking", disable=not self.progress
        ):
            part = mentions[start : start + BATCH_SIZE]
            contexts = [make_context(corpus.docs[mention.doc], mention) for mention in part]
            vectors = self.encoders.mentions(contexts)
            for vector, found in zip(vectors, candidates[start:], strict=False):
                ranked.append(self._rank(vector, found)[:top_k])
        return ranked

    def _rank(self, vector: torch.Tensor, found: Sequence[int]) -> Candidates:
        if not found:
            return ()
        entities = torch.stack([self._vectors[entity] for entity in found])
        distances = torch.linalg.vector_norm(entities - vector, dim=1).tolist()
        order = sorted(range(len(found)), key=lambda i: (distances[i], i))
        return tuple((self.concepts[found[i]], -distances[i]) for i in order)

    def _encode_entities(self, entities: Sequence[int]) -> None:
        new = [entity for entity in entities if entity not in self._vectors]
        # Those of one length together: padding costs as much as text.
        new.sort(key=lambda entity: sum(map(len, self.entity_texts[entity])))
        for start in tqdm(
            range(0, len(new), BATCH_SIZE), desc="Encoding", disable=not self.progress
        ):
            part = new[start : start + BATCH_SIZE]
            vectors = self.encoders.entities([self.entity_texts[entity] for entity in part])
            self._vectors.update(zip(part, vectors, strict=True))


def describe_entities(kb: FaissKnowledgeBase, names: NameTable) -> list[list[str]]:
    """List what the entity encoder reads.

    kb (FaissKnowledgeBase): With types and canonical names.
    names (NameTable): With all names.
    RETURNS (list[list[str]]): For each entity its types, where it has any, its
        canonical name and its other names.
    """
    texts = []
    for entity, rows in zip(kb.entities(), names.names_of_concepts(), strict=True):
        types = [" ".join(entity.types)] if entity.types else []
        others = [names.texts[row] for row in rows]
        texts.append([*types, *dict.fromkeys([entity.canonical_name, *others])])
    return texts
