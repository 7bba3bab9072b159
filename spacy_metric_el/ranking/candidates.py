"""Candidates of mentions: the entities behind the rows that a search found."""

from typing import NamedTuple

import numpy as np

from ..kb.ranking import NAME_ROW
from ..kb.records import PREFERENCE, Records
from ..segments import offsets_of, segment_max, segment_sum, spread
from .counts import PairCounts

VOCABULARY_MASS = 0.5
"""What a link of the vocabulary weighs beside one mention of a training corpus."""


class Hits(NamedTuple):
    """Rows that were found for mentions; a mention may have several queries.

    mentions (np.ndarray): (h,) int64, the mention of each hit.
    queries (np.ndarray): (h,) int64, the query that found it.
    rows (np.ndarray): (h,) int64, the row of the index.
    kinds (np.ndarray): (h,) uint8, the kind of row.
    refs (np.ndarray): (h,) int64, the name or the entity that the row stands for.
    similarities (np.ndarray): (h,) float32, of the whole vectors.
    is_written (np.ndarray): (h,) bool, found by the text as written.
    is_long (np.ndarray): (h,) bool, found by the long form; by the text where it has none.
    """

    mentions: np.ndarray
    queries: np.ndarray
    rows: np.ndarray
    kinds: np.ndarray
    refs: np.ndarray
    similarities: np.ndarray
    is_written: np.ndarray
    is_long: np.ndarray


class OwnUsage(NamedTuple):
    """What the documents of training mentions contributed themselves to the counts.

    A training mention must be judged as one of a new document is: without the names,
    entities and counts that the knowledge base has from its own document alone.

    documents (np.ndarray): (n,) int64, the document of each mention.
    links (PairCounts): Uses of a link in a document.
    entities (PairCounts): Mentions of an entity in a document.
    """

    documents: np.ndarray
    links: PairCounts
    entities: PairCounts


class Candidates(NamedTuple):
    """Pairs of a mention and a candidate entity, in runs: a run a mention, best first.

    offsets (np.ndarray): (n + 1,) int64, where each mention's run starts and ends.
    entities (np.ndarray): (p,) int32, distinct in a run.
    queries (np.ndarray): (p,) int64, the query that found the best row.
    rows (np.ndarray): (p,) int64, the best row.
    names (np.ndarray): (p,) int64, its name; -1 if it is no name's row.
    base (np.ndarray): (p,) float32: similarity * p(entity | name) ** prior_weight.
    similarities (np.ndarray): (p,) float32, of the best row.
    written, long (np.ndarray): (p,) float32, best similarity by either form.
    log_priors (np.ndarray): (p,) float32, log p(entity | name) of the best row.
    link_counts (np.ndarray): (p,) float32, training mentions behind the best row's link.
    is_preferred (np.ndarray): (p,) bool, whether the best row's name is the canonical one.
    n_rows (np.ndarray): (p,) float32, how many rows were found.
    """

    offsets: np.ndarray
    entities: np.ndarray
    queries: np.ndarray
    rows: np.ndarray
    names: np.ndarray
    base: np.ndarray
    similarities: np.ndarray
    written: np.ndarray
    long: np.ndarray
    log_priors: np.ndarray
    link_counts: np.ndarray
    is_preferred: np.ndarray
    n_rows: np.ndarray

    @property
    def mentions(self) -> np.ndarray:
        """RETURNS (np.ndarray): (p,) int64, the mention of each pair."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def places(self) -> np.ndarray:
        """RETURNS (np.ndarray): (p,) int64, the place of each pair in its run."""
        return np.arange(len(self.entities)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))

    def take(self, pairs: np.ndarray, offsets: np.ndarray) -> "Candidates":
        """RETURNS (Candidates): Some of the pairs, with the runs that they now form."""
        return Candidates(offsets, *(values[pairs] for values in self[1:]))


def collect_candidates(
    hits: Hits,
    records: Records,
    n_mentions: int,
    *,
    limit: int,
    prior_weight: float,
    own: OwnUsage | None = None,
) -> Candidates:
    """Turn the rows that were found into candidates.

    hits (Hits): The rows.
    records (Records): Says which entities bear a name, and how often.
    n_mentions (int): Number of mentions; each gets a run, empty ones too.
    limit (int): Candidates of each mention.
    prior_weight (float): Weight of log p(entity | name) in the order.
    own (OwnUsage | None): For training mentions.
    RETURNS (Candidates): Ties are broken by the entity's record, that is by concept id.
    """
    is_name = hits.kinds == NAME_ROW
    refs = np.where(is_name, hits.refs, 0)
    starts = records.name_offsets[refs]
    lengths = np.where(is_name, records.name_offsets[refs + 1] - starts, 1)
    owners, links = spread(np.where(is_name, starts, 0), lengths)
    named = is_name[owners]
    entities = np.where(named, records.name_entities[links], hits.refs[owners]).astype(np.int32)
    mentions = hits.mentions[owners]
    counts = np.where(named, records.name_counts[links], 0).astype(np.float32)
    entity_counts = records.entity_counts[entities].astype(np.float32)
    if own is not None:
        documents = own.documents[mentions]
        counts = np.maximum(counts - named * own.links.of(documents, links), 0)
        entity_counts = np.maximum(entity_counts - own.entities.of(documents, entities), 0)
    preferred = named & records.name_is_preferred[links]
    known = named & records.name_in_vocabulary[links]
    mass = counts + VOCABULARY_MASS * known * (1.0 + PREFERENCE * preferred)
    exists = records.entity_in_vocabulary[entities] | (entity_counts > 0)
    alive = np.where(named, mass > 0, exists)
    owners, entities, mentions, named, counts, mass, preferred = (
        values[alive] for values in (owners, entities, mentions, named, counts, mass, preferred)
    )
    total = np.bincount(owners, weights=mass, minlength=len(hits.refs))
    share = np.where(named, mass / np.where(named, total[owners], 1.0), 1.0)
    log_priors = np.log(share).astype(np.float32)
    similarities = np.clip(hits.similarities[owners], 0.0, 1.0)
    base = similarities * np.exp(np.float32(prior_weight) * log_priors)
    order = np.lexsort((-base, entities, mentions))
    owners, entities, mentions = owners[order], entities[order], mentions[order]
    base, log_priors, similarities = base[order], log_priors[order], similarities[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (mentions[1:] != mentions[:-1]) | (entities[1:] != entities[:-1])
    best = np.flatnonzero(first)
    groups = np.append(best, len(order))
    by_form = [
        segment_max(np.where(flags[owners], similarities, 0).astype(np.float32), groups, 0.0)
        for flags in (hits.is_written, hits.is_long)
    ]
    pairs = Candidates(
        offsets_of(mentions[best], n_mentions),
        entities[best],
        hits.queries[owners[best]],
        hits.rows[owners[best]],
        np.where(named[order][best], hits.refs[owners[best]], -1),
        base[best].astype(np.float32),
        similarities[best].astype(np.float32),
        by_form[0],
        by_form[1],
        log_priors[best],
        counts[order][best],
        preferred[order][best],
        segment_sum(np.ones(len(order), dtype=np.float32), groups),
    )
    return best_first(pairs, pairs.base, limit)


def best_first(candidates: Candidates, scores: np.ndarray, limit: int) -> Candidates:
    """Sort the candidates of each mention, and keep the best.

    candidates (Candidates): The pairs.
    scores (np.ndarray): (p,) float32.
    limit (int): Candidates to keep of each mention.
    RETURNS (Candidates): The pairs that are kept, ties by the entity's record.
    """
    order, offsets = sort_runs(candidates, scores, limit)
    return candidates.take(order, offsets)


def sort_runs(
    candidates: Candidates, scores: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (tuple[np.ndarray, np.ndarray]): The pairs that `best_first` keeps, and the offsets of the runs that they form."""
    mentions = candidates.mentions
    order = np.lexsort((candidates.entities, -scores, mentions))
    kept = order[candidates.places < limit]
    return kept, offsets_of(mentions[kept], len(candidates.offsets) - 1)
