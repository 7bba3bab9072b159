"""A vocabulary of four concepts: two share "cold" in two spellings, two share "MI"."""

import numpy as np
from hypothesis import strategies as st

from spacy_metric_el.kb.entity import Entity
from spacy_metric_el.kb.index.row_vectors import RowVectors, make_row_vectors
from spacy_metric_el.kb.knowledge_base import FaissKnowledgeBase

ENTITIES = [
    Entity("C2", "Cold temperature", ["cold"], ["T070"], None),
    Entity("C1", "Common cold", ["Cold", "acute rhinitis"], ["T047"], "A viral infection."),
    Entity("C4", "Mitral insufficiency", ["MI"], ["T047"], None),
    Entity("C3", "Myocardial infarction", ["heart attack", "MI"], ["T047", "T046"], None),
]
COUNTS = {("cold", "C1"): 3, ("COLD ", "C1"): 2, ("Cold", "C2"): 1, ("Flu", "C5"): 4}
WIDTH = 4


def unit_vectors(n, width=WIDTH, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")


def some_vectors(records, fingerprint="encoder", seed=0) -> RowVectors:
    """A row a name."""
    names = np.arange(records.n_names)
    return make_row_vectors(unit_vectors(len(names), seed=seed), names, fingerprint)


def make_kb(vectors=True) -> FaissKnowledgeBase:
    kb = FaissKnowledgeBase.from_entities(ENTITIES, COUNTS, meta={"source": "by hand"})
    if vectors:
        kb.vectors = some_vectors(kb.records)
    return kb


concept_ids = st.sampled_from([f"C{i}" for i in range(6)])
names = st.sampled_from(["a", "A", "b", "B ", "ab", "ﬁ", "fi", "a  b", "A b", "é", "é"])
vocabularies = st.dictionaries(concept_ids, st.lists(names, min_size=1, max_size=4), min_size=1)
mention_counts = st.dictionaries(st.tuples(names, concept_ids), st.integers(1, 9), max_size=6)


def entities_of(vocabulary) -> list[Entity]:
    return [Entity(cid, aliases[0], aliases) for cid, aliases in vocabulary.items()]
