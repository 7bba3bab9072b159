"""A vocabulary through the encoder: fitting a fresh one, and making all rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..kb import FaissKnowledgeBase
from ..kb.index.buffers import row_buffer
from ..kb.index.postings import Postings, build_postings
from ..kb.index.row_vectors import RowVectors, make_row_vectors
from ..kb.records import Records
from ..model.head import fit_projection
from ..model.surface import fit_weights
from .name_encoder import NameEncoder
from .name_workers import name_workers

FIT_SAMPLE = 4_000
"""Names that a fresh projection is fitted to."""

BLOCK = 65_536
"""Rows that are encoded together, sorted by length among themselves."""

PROGRESS_FROM = 2_000
"""Fewer names than this are encoded without a progress bar."""


def fit_channels(
    encoder: NameEncoder,
    records: Records,
    *,
    seed: int,
    ngram_weights: np.ndarray | None = None,
) -> None:
    """Fit a fresh encoder to a vocabulary, without any training.

    The n-grams get weights from their document frequencies, and the projection of
    the context channel the principal directions of pooled names.

    encoder (NameEncoder): Over an initialized model.
    records (Records): The vocabulary.
    seed (int): Draws the sample of names.
    ngram_weights (np.ndarray | None): (rows,) float32 weights of n-grams that the same
        encoder was given before for this vocabulary; they are not counted again.
    """
    head = encoder.model.get_ref("head")
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
        fit_projection(head, encoder.pool(names))


def encode_rows(
    encoder: NameEncoder,
    kb: FaissKnowledgeBase,
    fingerprint: str,
    *,
    older: Sequence[RowVectors] = (),
    work_folder: Path | None = None,
    progress: bool = False,
    workers: int = 1,
) -> RowVectors:
    """Encode the names of a knowledge base, but those that there are vectors of.

    encoder (NameEncoder): Over an initialized model.
    kb (FaissKnowledgeBase): The vocabulary. It stays as it is.
    fingerprint (str): Of the encoder.
    older (Sequence[RowVectors]): Vectors of its names: those by this encoder are kept, and
        of the others, where they are of the same names, the postings.
    work_folder (Path | None): Where many vectors may wait; see `row_buffer`.
    progress (bool): Whether to show a progress bar.
    workers (int): Processes that encode names; see `name_workers`.
    RETURNS (RowVectors): A row for each name.
    RAISES (MetricELError): E141 for an index that FAISS cannot make, E015.
    """
    records, n_names = kb.records, kb.records.n_names
    names = np.arange(n_names)
    known = next((vectors for vectors in older if vectors.fingerprint == fingerprint), None)
    rows = np.full(n_names, -1) if known is None else known.rows_of(names)
    n_empty = encoder.n_empty
    title = "Encoding names" if known is None else "Encoding new names"
    buffer = row_buffer(n_names, encoder.width - n_empty, work_folder)
    n_missing = int((rows < 0).sum())
    with (
        progress_bar(n_missing, title, shown=progress) as bar,
        name_workers(encoder, workers if n_missing else 1, bar.update) as encode,
    ):
        for start in range(0, n_names, BLOCK):
            texts = records.name_texts(start, min(start + BLOCK, n_names))
            block = rows[start : start + BLOCK]
            missing = np.flatnonzero(block < 0)
            vectors = encode([texts[i] for i in missing])
            buffer[start + missing] = vectors[:, n_empty:]
            kept = np.flatnonzero(block >= 0)
            if known is not None and len(kept):
                buffer[start + kept] = known.decode(block[kept])[:, n_empty:]

    def make_postings() -> Postings:
        for vectors in older:
            if vectors.postings is not None and np.array_equal(vectors.names, names):
                return vectors.postings

        def texts_of(some: np.ndarray) -> list[str]:
            return records.names["name"].take(some).to_pylist()

        return build_postings(texts_of, n_names, work_folder, progress=progress)

    return make_row_vectors(
        buffer,
        names,
        fingerprint,
        n_empty=n_empty,
        factory=kb.meta.get("index", ""),
        make_postings=make_postings,
    )


def progress_bar(total: int, title: str, *, shown: bool) -> tqdm:
    """RETURNS (tqdm): A bar for the encoding of names; none where it is not shown, or the names are few."""
    hidden = None if shown and total >= PROGRESS_FROM else True
    return tqdm(total=total, desc=title, unit=" names", disable=hidden, leave=False)
