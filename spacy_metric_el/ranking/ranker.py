"""The ranker: from the evidence for candidates to calibrated probabilities.

Two scorers, one after the other. The first judges each mention alone. What it finds
probable is evidence for the other mentions of the document, with which the second judges.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kb.records import Records
from ..mentions import MentionTable
from ..segments import over_runs, segment_max
from ..stages import stage
from ..text import normalise_name
from .candidates import CandidateTable, OwnUsage, sort_runs
from .document import DOCUMENT_FEATURES, document_evidence
from .features import (
    FEATURES,
    NameWordings,
    mention_features,
    pair_features,
    prototype_features,
)
from .labels import EntityLabels, label_agreement
from .listwise import ScorerSettings, make_scorer
from .prototypes import OwnMentions, Prototypes, compare_prototypes
from .retrieval import RANKED_CANDIDATES
from .wording import compare_wordings, read_wording

EVIDENCE = [*FEATURES, *DOCUMENT_FEATURES]
"""What the second scorer sees; a saved ranker fits only the version that has the same."""

JUDGED = 12
"""Candidates of a mention that are judged in any case. With `LEAST_SHARE` it is half of all:
to judge all is right for 0.1 % more mentions of MedMentions dev, and takes twice as long."""

LEAST_SHARE = 0.7
"""Of the similarity of the nearest candidate: others that reach it are judged, too."""


class Own(NamedTuple):
    """All that training mentions must be judged without; see each part."""

    usage: OwnUsage
    mentions: OwnMentions


class CandidateRanker:
    """Ranks candidates, and says how probable each is.

    records (Records): The vocabulary.
    prototypes (Prototypes): Of its entities.
    labels (EntityLabels): Of its entities.
    settings (ScorerSettings): Of both scorers.
    """

    def __init__(
        self,
        records: Records,
        prototypes: Prototypes,
        labels: EntityLabels,
        settings: ScorerSettings | None = None,
    ) -> None:
        self.records = records
        self.prototypes = prototypes
        self.labels = labels
        self.settings = settings or ScorerSettings()
        self.wordings = NameWordings(records)
        self.alone = make_scorer(len(FEATURES), self.settings)
        self.together = make_scorer(len(FEATURES) + len(DOCUMENT_FEATURES), self.settings)

    def features(
        self,
        candidates: CandidateTable,
        channels: np.ndarray,
        mentions: MentionTable,
        own: Own | None = None,
    ) -> np.ndarray:
        """Gather the evidence of each mention alone.

        candidates (CandidateTable): The p pairs.
        channels (np.ndarray): (p, 2) float32, cosines of the two channels; see `pair_features`.
        mentions (MentionTable): The n mentions.
        own (Own | None): For training mentions: what to leave out.
        RETURNS (np.ndarray): (p, len(FEATURES)) float32.
        """
        owners, texts = candidates.mentions, mentions.long
        counts = self.records.entity_counts[candidates.entities].astype(np.float32)
        if own is not None:
            mine = own.usage.entities.of(own.usage.documents[owners], candidates.entities)
            counts = np.maximum(counts - mine, 0)
        near = compare_prototypes(
            mentions.context,
            owners,
            candidates.entities,
            self.prototypes,
            own.mentions if own is not None else None,
        )
        agreement = label_agreement(mentions.labels, owners, candidates.entities, self.labels)
        # A label that an entity has from this document alone must not be known here.
        agreement *= near[:, 2] if own is not None else 1.0
        wordings = [read_wording(text) for text in texts]
        parts = (
            pair_features(candidates, self.records, channels, counts),
            compare_wordings(wordings, owners, candidates.names, self.wordings),
            mention_features(mentions, wordings)[owners],
            prototype_features(near, counts, agreement, candidates.offsets),
        )
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def rank(
        self,
        candidates: CandidateTable,
        channels: np.ndarray,
        mentions: MentionTable,
        *,
        top_k: int,
    ) -> tuple[CandidateTable, np.ndarray]:
        """Rank the candidates of whole documents.

        candidates (CandidateTable): The p pairs.
        channels (np.ndarray): (p, 2) float32, cosines of the two channels.
        mentions (MentionTable): The mentions, all of a document together.
        top_k (int): Candidates to keep of each mention.
        RETURNS (tuple[CandidateTable, np.ndarray]): The candidates, best first, and the
            probability of each, (p,) float32; those of a mention sum to at most 1, and
            those that were not judged (see `JUDGED`) stand behind with 0.
        """
        places = np.flatnonzero(_is_worth_judging(candidates))
        judged = candidates.take(places)
        with stage("evidence"):
            features = self.features(judged, channels[places], mentions)
        evidence = self._with_document_features(features, judged, mentions)
        # Below all probabilities, and in the order that they came in.
        scores = -1.0 - candidates.places.astype(np.float32)
        with stage("scorers"):
            scores[places] = self.together.probabilities(evidence, judged.offsets)
        order = sort_runs(candidates, scores, top_k)
        return candidates.take(order), np.maximum(scores[order], 0.0)

    def fit(
        self,
        candidates: CandidateTable,
        channels: np.ndarray,
        mentions: MentionTable,
        is_right: np.ndarray,
        own: Own,
        *,
        hidden: Sequence[str] = (),
        progress: bool = False,
    ) -> float:
        """Fit both scorers to training mentions, each judged as one of a new document.

        candidates (CandidateTable): The p pairs, collected without the mentions' own documents.
        channels (np.ndarray): (p, 2) float32, cosines of the two channels.
        mentions (MentionTable): The mentions, all of a document together.
        is_right (np.ndarray): (p,) bool, whether the candidate is a gold one.
        own (Own): What to leave out.
        hidden (Sequence[str]): Names of evidence that gets no weight, to measure its worth.
        progress (bool): Whether to show progress bars.
        RETURNS (float): The last loss of the second scorer, in nats a mention.
        """
        # From all candidates: one that had learned from near ones alone was less often right.
        features = self.features(candidates, channels, mentions, own)
        # What never varies has no weight, whatever it is later.
        features[:, np.isin(FEATURES, list(hidden))] = 0.0
        offsets = candidates.offsets
        self.alone.fit(features, offsets, is_right, self.settings, progress=progress)
        evidence = self._with_document_features(features, candidates, mentions)
        evidence[:, np.isin(EVIDENCE, list(hidden))] = 0.0
        loss = self.together.fit(evidence, offsets, is_right, self.settings, progress=progress)
        # As they are saved, or a pipeline would rank otherwise once it was loaded.
        halved = self.prototypes.sums.astype(np.float16).astype(np.float32)
        self.prototypes = self.prototypes._replace(sums=halved)
        return loss

    def _with_document_features(
        self, features: np.ndarray, candidates: CandidateTable, mentions: MentionTable
    ) -> np.ndarray:
        """RETURNS (np.ndarray): (p, len(EVIDENCE)) float32, the evidence of each mention alone, and that of its document."""
        with stage("scorers"):
            probabilities = self.alone.probabilities(features, candidates.offsets)
        with stage("evidence of the document"):
            groups = _number(normalise_name(text) for text in mentions.long)
            owners = candidates.mentions
            found = document_evidence(
                mentions.documents[owners], groups[owners], candidates.entities, probabilities
            )
        return np.concatenate((features, found), axis=1)

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): All that was learned. Entities are named by concept ids, so that it fits the vocabulary when that is built again."""
        entities = np.union1d(
            self.prototypes.entities, np.flatnonzero(self.labels.of_entity >= 0)
        ).astype(np.int64)
        ids = self.records.entities["concept_id"].take(entities).to_pylist()
        return {
            "settings": self.settings._asdict(),
            "features": EVIDENCE,
            "alone": self.alone.to_dict(),
            "together": self.together.to_dict(),
            "concept_ids": ids,
            "sums": self.prototypes.sums.astype(np.float16),
            "sizes": self.prototypes.sizes,
            "owners": np.searchsorted(entities, self.prototypes.entities),
            "labels": self.labels.labels,
            "label_of": self.labels.of_entity[entities],
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any], records: Records) -> "CandidateRanker":
        """Load a ranker for a vocabulary; what is about concepts that it lacks is dropped.

        state (dict[str, Any]): What `to_dict` gave.
        records (Records): The vocabulary.
        RETURNS (CandidateRanker): The ranker.
        """
        entities = np.asarray([records.entity_index(cid) for cid in state["concept_ids"]])
        entities = entities.astype(np.int64)
        owners = entities[state["owners"]] if len(entities) else np.zeros(0, dtype=np.int64)
        order = np.argsort(owners, kind="stable")
        order = order[owners[order] >= 0]
        prototypes = Prototypes(
            state["sums"][order].astype(np.float32), state["sizes"][order], owners[order]
        )
        of_entity = np.full(records.n_entities, -1, dtype=np.int32)
        known = entities >= 0
        of_entity[entities[known]] = state["label_of"][known]
        labels = EntityLabels(list(state["labels"]), of_entity)
        ranker = cls(records, prototypes, labels, ScorerSettings(**state["settings"]))
        ranker.alone.from_dict(state["alone"])
        ranker.together.from_dict(state["together"])
        return ranker


def _is_worth_judging(candidates: CandidateTable) -> np.ndarray:
    """RETURNS (np.ndarray): (p,) bool: near candidates, as many as a ranker is given; of them the first ones of each mention, and others that are not much less similar than the nearest."""
    best = segment_max(candidates.similarities, candidates.offsets, 0.0)
    least = over_runs(np.float32(LEAST_SHARE) * best, candidates.offsets)
    is_given = candidates.is_near & (candidates.places < RANKED_CANDIDATES)
    return is_given & ((candidates.places < JUDGED) | (candidates.similarities >= least))


def _number(keys: Iterable[Any]) -> np.ndarray:
    numbers: dict[Any, int] = {}
    return np.asarray([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
