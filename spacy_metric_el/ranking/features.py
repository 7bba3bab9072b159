"""What speaks for a candidate of a mention, as numbers: one row for each pair."""

from collections.abc import Sequence

import numpy as np

from ..kb.records import Records
from ..mentions import MentionTable
from ..segments import over_runs, segment_max
from .candidates import CandidateTable
from .prototypes import PROTOTYPE_FEATURES
from .wording import WORDING_FEATURES, Wording, read_wording

PAIR_FEATURES = (
    "similarity",
    "surface",
    "context",
    "written",
    "long",
    "gap",
    "log_rows",
    "is_name",
    "is_preferred",
    "exact_written",
    "exact_long",
    "log_prior",
    "log_prior_if_exact",
    "log_link_count",
    "log_entity_count",
    "is_unseen",
    "in_vocabulary",
)
MENTION_FEATURES = ("is_upper", "has_long_form", "length", "n_words")
TRAINING_FEATURES = (*PROTOTYPE_FEATURES, "prototype_weight", "prototype_gap", "label_agreement")
FEATURES = (*PAIR_FEATURES, *WORDING_FEATURES, *MENTION_FEATURES, *TRAINING_FEATURES)
"""The columns of the evidence for a mention alone, in this order."""


class NameWordings:
    """The words of names, taken apart when they are first needed.

    records (Records): The vocabulary.
    limit (int): Names that are remembered; then it starts over.
    """

    def __init__(self, records: Records, limit: int = 200_000) -> None:
        self.records = records
        self.limit = limit
        self._known: dict[int, Wording] = {}

    def __call__(self, name: int) -> Wording:
        """RETURNS (Wording): The words of a name's record."""
        wording = self._known.get(name)
        if wording is None:
            if len(self._known) >= self.limit:
                self._known.clear()
            wording = self._known[name] = read_wording(self.records.names["key"][name].as_py())
        return wording


def pair_features(
    candidates: CandidateTable,
    records: Records,
    channels: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """Put together what the search and the vocabulary say of each pair.

    candidates (CandidateTable): The p pairs.
    records (Records): The vocabulary.
    channels (np.ndarray): (p, 2) float32, cosines of the surface and the context
        channels, of each mention and the best row.
    counts (np.ndarray): (p,) float32, training mentions of each candidate.
    RETURNS (np.ndarray): (p, len(PAIR_FEATURES)) float32.
    """
    offsets = candidates.offsets
    best = over_runs(segment_max(candidates.similarities, offsets, 0.0), offsets)
    columns = (
        candidates.similarities,
        channels[:, 0],
        channels[:, 1],
        candidates.written,
        candidates.long,
        candidates.similarities - best,
        np.log(np.maximum(candidates.n_rows, 1.0)),
        # All rows are names; rankers of version 0.1 were fitted beside rows of entities.
        np.ones(len(best)),
        candidates.is_preferred,
        candidates.is_written,
        candidates.is_long,
        candidates.log_priors,
        candidates.log_priors * (candidates.is_written | candidates.is_long),
        np.log1p(candidates.link_counts),
        np.log1p(counts),
        counts == 0,
        records.entity_in_vocabulary[candidates.entities],
    )
    return np.stack(columns, axis=1).astype(np.float32)


def mention_features(mentions: MentionTable, wordings: Sequence[Wording]) -> np.ndarray:
    """Describe mentions by what they look like.

    mentions (MentionTable): The n mentions.
    wordings (Sequence[Wording]): (n,) the words of their long forms.
    RETURNS (np.ndarray): (n, len(MENTION_FEATURES)) float32.
    """
    rows = [
        (
            written.isupper(),
            written != long,
            min(len(long), 40) / 40,
            min(len(wording.words), 6) / 6,
        )
        for written, long, wording in zip(mentions.written, mentions.long, wordings, strict=True)
    ]
    return np.asarray(rows, dtype=np.float32).reshape(-1, len(MENTION_FEATURES))


def prototype_features(
    near: np.ndarray, counts: np.ndarray, agreement: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Put together what the training mentions of each candidate say.

    near (np.ndarray): (p, 3) float32, as `compare_prototypes` gives them.
    counts (np.ndarray): (p,) float32, training mentions of each candidate.
    agreement (np.ndarray): (p,) float32, as `label_agreement` gives it.
    offsets (np.ndarray): (n + 1,) int64, where the runs of pairs start and end.
    RETURNS (np.ndarray): (p, len(TRAINING_FEATURES)) float32.
    """
    nearest, mean, has = near.T
    top = segment_max(np.where(has > 0, mean, -1.0), offsets, 0.0)
    columns = (
        nearest,
        mean,
        has,
        mean * np.log1p(counts),
        np.where(has > 0, mean - over_runs(top, offsets), -0.5),
        agreement,
    )
    return np.stack(columns, axis=1).astype(np.float32)
