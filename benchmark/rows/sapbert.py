"""Names alone, as SapBERT links: the nearest name in the space of a sentence encoder."""

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import faiss
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from spacy_metric_el.text import normalise_name

from ..mentions import Corpus
from ..names import Candidates, NameTable, rank_concepts
from ..task import TOP_K, Task, Training
from ..wordpieces import WordpieceModel, find_model

SEARCHED_NAMES = 256
"""Names that the candidates of a mention are gathered from."""

QUERIES = 512
"""Mentions that are searched at a time."""

PAIRS = 128
"""Synonym pairs of an alignment step."""

LEARN_RATE = 2e-5


class SapbertRow:
    """Mean-pooled names and mention strings, compared by cosine over every name.

    model (str): Folder of a BERT; all-MiniLM-L6-v2 if empty.
    align_minutes (float): Time for self-alignment on the knowledge base's synonyms.
    cache (Path | None): Folder that keeps the vectors of names.
    precision (str): As for `WordpieceModel`.
    """

    def __init__(
        self,
        *,
        name: str = "sapbert-style",
        model: str = "",
        align_minutes: float = 0.0,
        cache: Path | None = None,
        precision: str = "auto",
    ) -> None:
        self.name = name
        self.folder = find_model(model)
        self.align_minutes, self.cache, self.precision = align_minutes, cache, precision
        self.settings: dict[str, Any] = {
            "model": self.folder.name if model else "all-MiniLM-L6-v2",
            "align_minutes": align_minutes,
        }
        self.notes = ["concepts that share the nearest name come by training frequency"]
        self.depth = TOP_K
        self._kept_seconds = 0.0

    def train(self, task: Task) -> Training:
        """Align if asked to, then encode and index every name."""
        started = perf_counter()
        self.encoder = WordpieceModel(self.folder, precision=self.precision)
        self.settings["precision"] = self.encoder.precision
        self.names = task.names
        loaded = perf_counter() - started
        started = perf_counter()
        details: dict[str, Any] = {}
        if self.align_minutes:
            details = align(
                self.encoder,
                task.names,
                minutes=self.align_minutes,
                seed=task.seed,
                progress=task.progress,
            )
        seconds = perf_counter() - started
        started = perf_counter()
        vectors, details["cached_vectors"] = self._encode_names(task)
        self.index = faiss.IndexFlatIP(self.encoder.width)
        self.index.add(vectors)
        # Vectors from the cache took their time as well, when they were made.
        build_seconds = loaded + self._kept_seconds + perf_counter() - started
        return Training(build_seconds, seconds, details)

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention; the score is the best name's cosine."""
        texts = [normalise_name(mention.text) for mention in corpus.mentions]
        queries = self.encoder.encode_all(texts)
        found: list[Candidates] = []
        for start in range(0, len(queries), QUERIES):
            for similarities, rows in self._search(queries[start : start + QUERIES]):
                found.append(rank_concepts(similarities, rows, self.names, top_k=top_k))
        return found

    def _search(self, queries: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """YIELDS (tuple[np.ndarray, np.ndarray]): Similarities and rows, (k,) each, of each query."""
        k = min(SEARCHED_NAMES, self.index.ntotal)
        # A flat index takes some fifteen times longer for a query in a batch of less than about 300.
        full = np.resize(queries, (QUERIES, queries.shape[1]))
        similarities, rows = self.index.search(full, k)
        yield from zip(similarities[: len(queries)], rows[: len(queries)], strict=True)

    def _encode_names(self, task: Task) -> tuple[np.ndarray, bool]:
        """RETURNS (tuple[np.ndarray, bool]): (names, width) float32, and whether they were kept."""
        keys = task.names.keys
        if self.cache is None:
            return self.encoder.encode_all(keys, progress=task.progress), False
        digest = hashlib.blake2b(self.encoder.fingerprint().encode("utf8"), digest_size=12)
        for key in keys:
            digest.update(key.encode("utf8") + b"\0")
        path = self.cache / f"names-{digest.hexdigest()}.npz"
        is_kept = path.is_file()
        if not is_kept:
            started = perf_counter()
            vectors = self.encoder.encode_all(keys, progress=task.progress).astype(np.float16)
            self.cache.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{uuid4().hex}.npz")
            try:
                np.savez(temporary, vectors=vectors, seconds=perf_counter() - started)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        with np.load(path) as kept:
            if is_kept:
                self._kept_seconds = float(kept["seconds"])
            return kept["vectors"].astype(np.float32), is_kept


def align(
    encoder: WordpieceModel, names: NameTable, *, minutes: float, seed: int, progress: bool = False
) -> dict[str, Any]:
    """Pull the names of a concept together and push those of others away.

    encoder (WordpieceModel): Its weights are trained.
    names (NameTable): Concepts of two names or more give the pairs.
    minutes (float): When to stop.
    seed (int): Of drawing pairs, and of dropout.
    progress (bool): Whether to show a progress bar.
    RETURNS (dict[str, Any]): `steps`, `pairs_seen`, and the `first_loss` and `last_loss`
        (means of 20 steps).
    """
    synonyms = [rows for rows in names.names_of_concepts() if len(rows) > 1]
    draw = random.Random(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(encoder.model.parameters(), lr=LEARN_RATE, weight_decay=0.01)
    losses: list[float] = []
    started = perf_counter()
    encoder.model.train()
    with tqdm(desc="Aligning", unit=" steps", disable=not progress) as bar:
        while synonyms and perf_counter() - started < 60 * minutes:
            drawn = draw.sample(range(len(synonyms)), min(PAIRS, len(synonyms)))
            pairs = [draw.sample(synonyms[concept], 2) for concept in drawn]
            texts = [names.keys[row] for pair in pairs for row in pair]
            labels = torch.arange(len(pairs)).repeat_interleave(2)
            loss = multi_similarity_loss(encoder.encode_names(texts), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            bar.update()
    encoder.model.eval()
    return {
        "steps": len(losses),
        "pairs_seen": len(losses) * min(PAIRS, len(synonyms)),
        "first_loss": float(np.mean(losses[:20])) if losses else 0.0,
        "last_loss": float(np.mean(losses[-20:])) if losses else 0.0,
    }


def multi_similarity_loss(
    vectors: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    margin: float = 0.2,
) -> Tensor:
    """The multi-similarity loss over the hard pairs of a batch (Wang et al. 2019).

    A negative pair is hard if it is more similar than the least similar positive of
    its anchor less the margin, a positive one if it is less similar than the most
    similar negative plus the margin.

    vectors (Tensor): (n, width), of unit length.
    labels (Tensor): (n,), the concept of each.
    alpha (float): Weight of positives.
    beta (float): Weight of negatives.
    base (float): Similarity that divides them.
    margin (float): Of the mining.
    RETURNS (Tensor): The mean over the anchors.
    """
    similarities = vectors @ vectors.T
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool)
    infinity = float("inf")
    least = similarities.masked_fill(~positive, infinity).amin(1, keepdim=True)
    most = similarities.masked_fill(same, -infinity).amax(1, keepdim=True)
    hard_positive = positive & (similarities - margin < most)
    hard_negative = ~same & (similarities + margin > least)
    pulls = torch.exp(-alpha * (similarities - base)) * hard_positive
    pushes = torch.exp(beta * (similarities - base)) * hard_negative
    return (torch.log1p(pulls.sum(1)) / alpha + torch.log1p(pushes.sum(1)) / beta).mean()
