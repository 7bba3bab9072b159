"""What the mentions of one document say about each other.

Mentions of a document are about the same things: an entity that another mention
probably means is the likelier for this one. Relations of wording (the same head, one
inside the other) and of the metric space were measured on top of it and added nothing.
"""

import numpy as np

from ..segments import segment_max, segment_sum

DOCUMENT_FEATURES = ("elsewhere_max", "elsewhere_sum")


def document_evidence(
    documents: np.ndarray, groups: np.ndarray, entities: np.ndarray, probabilities: np.ndarray
) -> np.ndarray:
    """Let the mentions of a document lend each other their evidence.

    Mentions of the same text are one voice, or a frequent text would confirm itself.
    Sorting is all it takes: p log p time for p pairs, whatever the length of a document.

    documents (np.ndarray): (p,) int, the document of each pair of mention and candidate.
    groups (np.ndarray): (p,) int, a number for the mention's text.
    entities (np.ndarray): (p,) int, the candidate.
    probabilities (np.ndarray): (p,) float32, that the mention means the candidate.
    RETURNS (np.ndarray): (p, 2) float32, see `DOCUMENT_FEATURES`: the largest
        probability of the candidate among the other texts of the document, and
        log(1 + the sum of these probabilities over the other texts).
    """
    out = np.zeros((len(entities), len(DOCUMENT_FEATURES)), dtype=np.float32)
    if not len(entities):
        return out
    order = np.lexsort((-probabilities, groups, entities, documents))
    keys = np.stack((documents, entities, groups))[:, order]
    starts_voice = np.ones(len(order), dtype=bool)
    starts_voice[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    starts_topic = np.ones(len(order), dtype=bool)
    starts_topic[1:] = (keys[:2, 1:] != keys[:2, :-1]).any(axis=0)
    # A voice is a text that has the entity as a candidate, a topic an entity of a document.
    voice_of_pair = np.cumsum(starts_voice) - 1
    loudness = probabilities[order][starts_voice].astype(np.float64)
    topic_of_voice = (np.cumsum(starts_topic) - 1)[starts_voice]
    offsets = np.append(np.flatnonzero(starts_topic[starts_voice]), len(loudness))
    loudest = segment_max(loudness, offsets, 0.0)[topic_of_voice]
    is_loudest = loudness == loudest
    is_alone = segment_sum(is_loudest.astype(np.float64), offsets)[topic_of_voice] == 1
    second = segment_max(np.where(is_loudest, 0.0, loudness), offsets, 0.0)[topic_of_voice]
    others_max = np.where(is_loudest & is_alone, second, loudest)
    others_sum = segment_sum(loudness, offsets)[topic_of_voice] - loudness
    out[order, 0] = others_max[voice_of_pair]
    out[order, 1] = np.log1p(np.maximum(others_sum, 0.0))[voice_of_pair]
    return out
