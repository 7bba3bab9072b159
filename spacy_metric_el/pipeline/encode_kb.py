"""A vocabulary through the encoder: fitting a fresh one, and making all rows."""

import numpy as np

from ..kb import FaissKnowledgeBase
from ..kb.ranking import ENTITY_ROW, NAME_ROW
from ..kb.records import Records
from ..kb.vectors import RowVectors, find_rows, make_row_vectors
from ..model.head import fit_projection
from ..model.surface import fit_weights
from .name_docs import NameText
from .name_encoder import NameEncoder

FIT_SAMPLE = 4_000
"""Names that a fresh projection is fitted to."""

CONTEXT_CHARACTERS = 160
"""Of an entity's other names and definition, this much follows its name."""


def fit_channels(encoder: NameEncoder, kb: FaissKnowledgeBase, *, seed: int) -> None:
    """Fit a fresh encoder to a vocabulary, without any training.

    The n-grams get weights from their document frequencies, and the projection of
    the context channel the principal directions of pooled names.

    encoder (NameEncoder): Over an initialized model.
    kb (FaissKnowledgeBase): The vocabulary.
    seed (int): Draws the sample of names.
    """
    head = encoder.model.get_ref("head")
    names = kb.records.name_texts()
    fit_weights(head.get_ref("surface"), names)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(len(names))[:FIT_SAMPLE])
    if len(sample) > 1:
        fit_projection(head, encoder.pool([NameText(names[i]) for i in sample]))


def encode_kb(
    encoder: NameEncoder,
    kb: FaissKnowledgeBase,
    fingerprint: str,
    *,
    entity_rows: bool,
    progress: bool,
) -> RowVectors:
    """Encode all rows of a knowledge base, but those that it has vectors of.

    encoder (NameEncoder): Over an initialized model.
    kb (FaissKnowledgeBase): The vocabulary. Its vectors, if it has any, are kept where
        they are of this encoder.
    fingerprint (str): Of the encoder.
    entity_rows (bool): Whether entities with a definition get a row of their own.
    progress (bool): Whether to show a progress bar.
    RETURNS (RowVectors): A row for each name, then one for each such entity.
    """
    records = kb.records
    texts = [NameText(name) for name in records.name_texts()]
    kinds, refs = [np.full(len(texts), NAME_ROW)], [np.arange(len(texts))]
    if entity_rows:
        entities, entity_texts = describe_entities(records)
        texts += entity_texts
        kinds.append(np.full(len(entities), ENTITY_ROW))
        refs.append(entities)
    all_kinds, all_refs = np.concatenate(kinds), np.concatenate(refs)
    known = kb.vectors
    if known is None or known.fingerprint != fingerprint:
        vectors = encoder.encode(texts, progress="Encoding names" if progress else "")
        return make_row_vectors(vectors, all_kinds, all_refs, fingerprint)
    rows = find_rows(known, all_kinds, all_refs)
    missing = np.flatnonzero(rows < 0)
    vectors = np.zeros((len(texts), known.width), dtype=np.float32)
    vectors[rows >= 0] = known.decode(rows[rows >= 0])
    title = "Encoding new names" if progress else ""
    vectors[missing] = encoder.encode([texts[i] for i in missing], progress=title)
    return make_row_vectors(vectors, all_kinds, all_refs, fingerprint)


def describe_entities(records: Records) -> tuple[np.ndarray, list[NameText]]:
    """Write out the entities that have a definition: the name, and what gives it context.

    records (Records): The vocabulary.
    RETURNS (tuple[np.ndarray, list[NameText]]): (k,) records of entities, and their
        texts: canonical name; types, other names and definition.
    """
    entities, texts = [], []
    for i, entity in enumerate(records.iter_entities()):
        if not entity.definition:
            continue
        others = [name for name in entity.aliases if name != entity.canonical_name][:3]
        rest = f"({', '.join([*entity.types, *others])}): {entity.definition}"
        entities.append(i)
        texts.append(NameText(entity.canonical_name, rest[:CONTEXT_CHARACTERS]))
    return np.asarray(entities, dtype=np.int64), texts
