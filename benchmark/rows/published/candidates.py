"""Candidates of a mention string: the concepts of its nearest names by TF-IDF."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_metric_el.text import normalise_name

from ...names import NameTable, rank_concepts
from ...sparse import SparseIndex

N_CANDIDATES = 64

SEARCHED_NAMES = 256
"""Names that the candidates are gathered from."""


class CandidateIndex:
    """Character 2- to 5-grams and words, each with half a say, over all names.

    names (NameTable): The names.
    n_candidates (int): Concepts for a string.
    """

    def __init__(self, names: NameTable, *, n_candidates: int = N_CANDIDATES) -> None:
        self.names = names
        self.n_candidates = n_candidates
        self._places = {concept_id: i for i, concept_id in enumerate(names.concepts)}
        self._known: dict[str, list[int]] = {}
        self._vectorizers = [
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), dtype=np.float32),
            TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", dtype=np.float32),
        ]
        for vectorizer in self._vectorizers:
            vectorizer.fit(names.keys)
        self._index = SparseIndex(self._vectors(names.keys), block=16)

    def find(self, texts: Sequence[str]) -> list[list[int]]:
        """Look strings up; each string once and for all.

        texts (Sequence[str]): Mention strings.
        RETURNS (list[list[int]]): For each the places of its concepts, best first;
            none for a string that shares no n-gram with any name.
        """
        keys = [normalise_name(text) for text in texts]
        new = sorted({key for key in keys if key not in self._known})
        if new:
            nearest = self._index.knnQueryBatch(self._vectors(new), SEARCHED_NAMES)
            for key, (rows, distances) in zip(new, nearest, strict=True):
                ranked = rank_concepts(1.0 - distances, rows, self.names, top_k=self.n_candidates)
                self._known[key] = [self._places[concept_id] for concept_id, _ in ranked]
        return [self._known[key] for key in keys]

    def _vectors(self, keys: Sequence[str]) -> sparse.csr_matrix:
        parts = [vectorizer.transform(keys) for vectorizer in self._vectorizers]
        return sparse.hstack(parts, format="csr")
