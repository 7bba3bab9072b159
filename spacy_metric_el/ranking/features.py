"""What speaks for a candidate of a mention, as numbers: one row for each pair."""

from typing import NamedTuple

import numpy as np

from ..kb.records import Records
from ..segments import segment_max
from .candidates import Candidates, OwnUsage
from .prototypes import PROTOTYPE_FEATURES
from .wording import WORDING_FEATURES, Wording, compare_wordings, read_wording

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
FEATURES = (
    *PAIR_FEATURES,
    *WORDING_FEATURES,
    *MENTION_FEATURES,
    *PROTOTYPE_FEATURES,
    "prototype_weight",
    "prototype_gap",
    "label_agreement",
)


class MentionTexts(NamedTuple):
    """What mentions say, apart from their vectors.

    written (list[str]): (n,) texts as written.
    long (list[str]): (n,) with abbreviations replaced by their long forms.
    labels (list[str]): (n,) entity labels.
    """

    written: list[str]
    long: list[str]
    labels: list[str]


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
    candidates: Candidates,
    texts: MentionTexts,
    records: Records,
    wordings: NameWordings,
    channels: np.ndarray,
    prototypes: np.ndarray,
    label_agreement: np.ndarray,
    own: OwnUsage | None = None,
) -> np.ndarray:
    """Put together what speaks for each pair.

    candidates (Candidates): The p pairs.
    texts (MentionTexts): Of the n mentions.
    records (Records): The vocabulary.
    wordings (NameWordings): Of its names.
    channels (np.ndarray): (p, 2) float32, cosines of the surface and the context
        channels, of each mention and the best row.
    prototypes (np.ndarray): (p, 3) float32, as `compare_prototypes` gives them.
    label_agreement (np.ndarray): (p,) float32, as `label_agreement` of `labels` gives it.
    own (OwnUsage | None): For training mentions: what to leave out.
    RETURNS (np.ndarray): (p, len(FEATURES)) float32.
    """
    mentions, offsets = candidates.mentions, candidates.offsets
    lengths = np.diff(offsets)
    counts = records.entity_counts[candidates.entities].astype(np.float32)
    if own is not None:
        counts = np.maximum(
            counts - own.entities.of(own.documents[mentions], candidates.entities), 0
        )
    is_named = candidates.names >= 0
    name_of = {text: records.name_index(text) for text in {*texts.written, *texts.long}}
    exact_written, exact_long = (
        is_named & (np.asarray([name_of[text] for text in own])[mentions] == candidates.names)
        for own in (texts.written, texts.long)
    )
    best = np.repeat(segment_max(candidates.similarities, offsets, 0.0), lengths)
    log_counts = np.log1p(counts)
    pairs = np.stack(
        (
            candidates.similarities,
            channels[:, 0],
            channels[:, 1],
            candidates.written,
            candidates.long,
            candidates.similarities - best,
            np.log(np.maximum(candidates.n_rows, 1.0)),
            is_named,
            candidates.is_preferred,
            exact_written,
            exact_long,
            candidates.log_priors,
            candidates.log_priors * (exact_written | exact_long),
            np.log1p(candidates.link_counts),
            log_counts,
            counts == 0,
            records.entity_in_vocabulary[candidates.entities],
        ),
        axis=1,
    )
    wording = [read_wording(text) for text in texts.long]
    words = compare_wordings(wording, mentions, candidates.names, wordings)
    whole = np.asarray(
        [
            (
                written.isupper(),
                written != long,
                min(len(long), 40) / 40,
                min(len(words_of.words), 6) / 6,
            )
            for written, long, words_of in zip(texts.written, texts.long, wording, strict=True)
        ],
        dtype=np.float32,
    ).reshape(-1, len(MENTION_FEATURES))
    nearest, mean, has = prototypes.T
    top = np.repeat(segment_max(np.where(has > 0, mean, -1.0), offsets, 0.0), lengths)
    evidence = np.stack(
        (
            nearest,
            mean,
            has,
            mean * log_counts,
            np.where(has > 0, mean - top, -0.5),
            label_agreement,
        ),
        axis=1,
    )
    return np.concatenate((pairs, words, whole[mentions], evidence), axis=1, dtype=np.float32)
