"""A vocabulary through the encoder: fitting a fresh one, and making all rows."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..kb import FaissKnowledgeBase
from ..kb.index.buffers import row_buffer
from ..kb.index.postings import Postings
from ..kb.index.row_vectors import RowVectors, find_rows, make_row_vectors
from ..kb.ranking import ENTITY_ROW, NAME_ROW
from ..kb.records import Records, row_texts
from ..model.head import fit_projection
from ..model.surface import fit_weights
from .name_docs import NameText
from .name_encoder import NameEncoder
from .name_workers import name_workers

FIT_SAMPLE = 4_000
"""Names that a fresh projection is fitted to."""

BLOCK = 65_536
"""Rows that are encoded together, sorted by length among themselves."""

PROGRESS_FROM = 2_000
"""Fewer names than this are encoded without a progress bar."""

CONTEXT_CHARACTERS = 160
"""Of an entity's other names and definition, this much follows its name."""


def fit_channels(
    encoder: NameEncoder,
    kb: FaissKnowledgeBase,
    *,
    seed: int,
    ngram_weights: np.ndarray | None = None,
) -> None:
    """Fit a fresh encoder to a vocabulary, without any training.

    The n-grams get weights from their document frequencies, and the projection of
    the context channel the principal directions of pooled names.

    encoder (NameEncoder): Over an initialized model.
    kb (FaissKnowledgeBase): The vocabulary.
    seed (int): Draws the sample of names.
    ngram_weights (np.ndarray | None): (rows,) float32 weights of n-grams that the same
        encoder was given before for this vocabulary; they are not counted again.
    """
    head, records = encoder.model.get_ref("head"), kb.records
    surface = head.get_ref("surface")
    if ngram_weights is None:
        fit_weights(surface, records.name_texts())
    else:
        weights: Any = ngram_weights
        surface.set_param("w", surface.ops.asarray1f(weights))
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(records.n_names)[:FIT_SAMPLE])
    if len(sample) > 1:
        names = records.names["name"].take(sample).to_pylist()
        fit_projection(head, encoder.pool([NameText(name) for name in names]))


def encode_kb(
    encoder: NameEncoder,
    kb: FaissKnowledgeBase,
    fingerprint: str,
    *,
    entity_rows: bool,
    progress: bool,
    workers: int = 1,
) -> RowVectors:
    """Encode all rows of a knowledge base, but those that it has vectors of.

    encoder (NameEncoder): Over an initialized model.
    kb (FaissKnowledgeBase): The vocabulary. Its vectors, if it has any, are kept where
        they are of this encoder.
    fingerprint (str): Of the encoder.
    entity_rows (bool): Whether entities with a definition get a row of their own.
    progress (bool): Whether to show a progress bar.
    workers (int): Processes that encode names; see `name_workers`.
    RETURNS (RowVectors): A row for each name, then one for each such entity.
    RAISES (MetricELError): E141 for an index that FAISS cannot make, E015.
    """
    records, n_names = kb.records, kb.records.n_names
    entities, described = describe_entities(records) if entity_rows else (np.zeros(0, np.int64), [])
    n_rows = n_names + len(entities)
    kinds = np.repeat([NAME_ROW, ENTITY_ROW], [n_names, len(entities)])
    refs = np.concatenate((np.arange(n_names), entities))
    known = kb.vectors if kb.vectors and kb.vectors.fingerprint == fingerprint else None
    rows = np.full(n_rows, -1) if known is None else find_rows(known, kinds, refs)
    n_empty = encoder.n_empty
    title = "Encoding names" if known is None else "Encoding new names"
    folder = _work_folder(kb)
    buffer = row_buffer(n_rows, encoder.width - n_empty, folder)
    n_missing = int((rows < 0).sum())
    with (
        progress_bar(n_missing, title, shown=progress) as bar,
        name_workers(encoder, workers if n_missing else 1, bar.update) as encode,
    ):
        for start in range(0, n_rows, BLOCK):
            end = min(start + BLOCK, n_rows)
            texts = [NameText(name) for name in records.name_texts(start, min(end, n_names))]
            texts += described[max(start - n_names, 0) : max(end - n_names, 0)]
            block = rows[start:end]
            missing = np.flatnonzero(block < 0)
            vectors = encode([texts[i] for i in missing])
            buffer[start + missing] = vectors[:, n_empty:]
            kept = np.flatnonzero(block >= 0)
            if known is not None and len(kept):
                buffer[start + kept] = known.decode(block[kept])[:, n_empty:]
    return make_row_vectors(
        buffer,
        kinds,
        refs,
        fingerprint,
        n_empty=n_empty,
        factory=kb.meta.get("index", ""),
        texts_of=lambda some: row_texts(records, kinds[some], refs[some]),
        postings=_postings_of(kb.vectors, kinds, refs),
        work_folder=folder,
        progress=progress,
    )


def _postings_of(
    vectors: RowVectors | None, kinds: np.ndarray, refs: np.ndarray
) -> Postings | None:
    """RETURNS (Postings | None): Those that other weights have left behind, if they are of the same rows."""
    if vectors is None or not np.array_equal(vectors.kinds, kinds):
        return None
    return vectors.postings if np.array_equal(vectors.refs, refs) else None


def progress_bar(total: int, title: str, *, shown: bool) -> tqdm:
    """RETURNS (tqdm): A bar for the encoding of names; none where it is not shown, or the names are few."""
    hidden = None if shown and total >= PROGRESS_FROM else True
    return tqdm(total=total, desc=title, unit=" names", disable=hidden, leave=False)


def _work_folder(kb: FaissKnowledgeBase) -> Path | None:
    """Vectors wait beside the index that they are for, on the same disk."""
    return kb.path if kb.path is not None and os.access(kb.path, os.W_OK) else None


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
