"""What the mentions of one document say about each other.

Mentions of a document are about the same things: an entity that another mention
probably means is the likelier for this one. Relations of wording (the same head, one
inside the other) and of the metric space were measured on top of it and added nothing.
"""

import numpy as np

from ..segments import over_runs, segment_max, segment_sum, starts_run

DOCUMENT_FEATURES = ("elsewhere_max", "elsewhere_sum")


def document_evidence(
    documents: np.ndarray, groups: np.ndarray, entities: np.ndarray, probabilities: np.ndarray
) -> np.ndarray:
    """Look how probable a candidate is for the other mentions of the document.

    Mentions of the same text count once, or a frequent text would confirm itself.
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
    documents, entities, groups = documents[order], entities[order], groups[order]
    # Sorted, the most probable pair of a text comes first, and counts for the text.
    first_of_entity = starts_run(documents, entities)
    first_of_text = first_of_entity | starts_run(groups)
    text_of_pair = np.cumsum(first_of_text) - 1
    probable = probabilities[order][first_of_text].astype(np.float64)
    # The texts of a document that have the same entity as a candidate are a run.
    offsets = np.append(np.flatnonzero(first_of_entity[first_of_text]), len(probable))
    largest = over_runs(segment_max(probable, offsets, 0.0), offsets)
    is_largest = probable == largest
    is_alone = over_runs(segment_sum(is_largest.astype(np.float64), offsets), offsets) == 1
    second = over_runs(segment_max(np.where(is_largest, 0.0, probable), offsets, 0.0), offsets)
    others_max = np.where(is_largest & is_alone, second, largest)
    others_sum = over_runs(segment_sum(probable, offsets), offsets) - probable
    out[order, 0] = others_max[text_of_pair]
    out[order, 1] = np.log1p(np.maximum(others_sum, 0.0))[text_of_pair]
    return out
