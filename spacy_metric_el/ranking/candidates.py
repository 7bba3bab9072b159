"""Candidates of mentions: the entities behind the rows that a search found."""

from typing import NamedTuple

import numpy as np

from ..kb.records import Records, link_mass
from ..segments import (
    offsets_of,
    offsets_of_lengths,
    over_runs,
    owners_of_lengths,
    segment_max,
    segment_min,
    segment_sum,
    starts_run,
)
from .counts import PairCounts

WRITTEN_SHARE = 0.9
"""What a similarity to the text as written counts, in the order of candidates, where the
mention has a long form."""

NEAR_EQUAL = 0.98
"""Similarity from which on another name than the text's own says no more than that one: the
order of words and signs leave no trace in n-grams, a last digit little ("hemoglobinuria 1"), and
vectors are kept in few bits. Priors, which take up to 0.02 from a name of several concepts,
decide between bearers of the same name alone."""

DECIMALS = 3
"""Digits of a similarity that decide the order; the rest is noise of the index."""


class Hits(NamedTuple):
    """Rows that were found for mentions; a mention may have several queries.

    mentions (np.ndarray): (h,) int64, the mention of each hit.
    queries (np.ndarray): (h,) int64, the query that found it.
    rows (np.ndarray): (h,) int64, the row of the index.
    names (np.ndarray): (h,) int64, the name that the row stands for.
    similarities (np.ndarray): (h,) float32, of the whole vectors.
    is_written (np.ndarray): (h,) bool, found by the text as written.
    is_long (np.ndarray): (h,) bool, found by the long form; by the text where it has none.
    is_exact (np.ndarray): (h,) bool, whether the name is the query's text, in its normal form.
    is_near (np.ndarray): (h,) bool, whether it is among the rows that evidence is taken
        from, however many more were asked for.
    """

    mentions: np.ndarray
    queries: np.ndarray
    rows: np.ndarray
    names: np.ndarray
    similarities: np.ndarray
    is_written: np.ndarray
    is_long: np.ndarray
    is_exact: np.ndarray
    is_near: np.ndarray


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


class CandidateTable(NamedTuple):
    """Pairs of a mention and a candidate entity, in runs: a run a mention, best first.

    offsets (np.ndarray): (n + 1,) int64, where each mention's run starts and ends.
    entities (np.ndarray): (p,) int32, distinct in a run.
    queries (np.ndarray): (p,) int64, the query that found the best row.
    rows (np.ndarray): (p,) int64, the best row.
    names (np.ndarray): (p,) int64, its name.
    base (np.ndarray): (p,) float32: similarity * p(entity | name) ** prior_weight; falling
        in a run.
    similarities (np.ndarray): (p,) float32, of the best row.
    written, long (np.ndarray): (p,) float32, best similarity by either form.
    is_written, is_long (np.ndarray): (p,) bool, whether the best row's name is either form,
        in its normal form.
    log_priors (np.ndarray): (p,) float32, log p(entity | name) of the best row.
    link_counts (np.ndarray): (p,) float32, training mentions behind the best row's link.
    is_preferred (np.ndarray): (p,) bool, whether the best row's name is the canonical one.
    n_rows (np.ndarray): (p,) float32, how many near rows were found.
    is_near (np.ndarray): (p,) bool, whether any of the rows is near; those that are none
        stand behind, and no evidence is taken for them.
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
    is_written: np.ndarray
    is_long: np.ndarray
    log_priors: np.ndarray
    link_counts: np.ndarray
    is_preferred: np.ndarray
    n_rows: np.ndarray
    is_near: np.ndarray

    @property
    def mentions(self) -> np.ndarray:
        """RETURNS (np.ndarray): (p,) int64, the mention of each pair."""
        return owners_of_lengths(np.diff(self.offsets))

    @property
    def places(self) -> np.ndarray:
        """RETURNS (np.ndarray): (p,) int64, the place of each pair in its run."""
        return np.arange(len(self.entities)) - over_runs(self.offsets[:-1], self.offsets)

    def take(self, pairs: np.ndarray, offsets: np.ndarray | None = None) -> "CandidateTable":
        """Take some of the pairs.

        pairs (np.ndarray): (k,) int64.
        offsets (np.ndarray | None): (m + 1,) int64, the runs that they form; those of their
            own mentions, which must rise, if None.
        RETURNS (CandidateTable): The pairs.
        """
        if offsets is None:
            offsets = offsets_of(self.mentions[pairs], len(self.offsets) - 1)
        return CandidateTable(offsets, *(values[pairs] for values in self[1:]))


def collect_candidates(
    hits: Hits,
    records: Records,
    n_mentions: int,
    *,
    limit: int,
    prior_weight: float,
    own: OwnUsage | None = None,
) -> CandidateTable:
    """Turn the rows that were found into candidates.

    hits (Hits): The rows.
    records (Records): Says which entities bear a name, and how often.
    n_mentions (int): Number of mentions; each gets a run, empty ones too.
    limit (int): Candidates of each mention.
    prior_weight (float): Weight of log p(entity | name) in the order.
    own (OwnUsage | None): For training mentions.
    RETURNS (CandidateTable): Near ones first, and best first by similarity and prior. Among
        near-equal similarities those of the query's own text come first; of equals the
        canonical names, and then those of the first concept id.
    """
    # A hit becomes one link for each entity that bears its name.
    owners, links = records.links_of_names(hits.names)
    entities = records.name_entities[links]
    mentions = hits.mentions[owners]
    counts = records.name_counts[links].astype(np.float32)
    if own is not None:
        counts = np.maximum(counts - own.links.of(own.documents[mentions], links), 0)
    preferred = records.name_is_preferred[links]
    # Without its own document a name that the corpus alone has, or an entity of it, may be gone.
    mass = link_mass(counts, records.name_in_vocabulary[links], preferred)
    alive = np.flatnonzero(mass > 0)
    total = np.bincount(owners, weights=mass, minlength=len(hits.names))
    owners, entities, mentions, counts, preferred = (
        values[alive] for values in (owners, entities, mentions, counts, preferred)
    )
    log_priors = np.log(mass[alive] / total[owners]).astype(np.float32)
    similarities = np.clip(hits.similarities, 0.0, 1.0)
    base = _base_scores(hits, similarities)[owners] * np.exp(np.float32(prior_weight) * log_priors)
    base = _exact_first(base, owners, hits, similarities)
    # The links of a mention's entity, best first: near ones before others, whatever their score,
    # so that rows that were asked for beyond these change nothing.
    near, exact = hits.is_near[owners], hits.is_exact[owners]
    order = np.lexsort((~preferred, ~exact, -base, ~near, entities, mentions))
    # The first link of each entity speaks for it; the others only say how many rows there were.
    first = np.flatnonzero(starts_run(mentions[order], entities[order]))
    best, groups = order[first], np.append(first, len(order))
    near_similarities = np.where(near, similarities[owners], 0)
    written, long = (
        segment_max(np.where(flags[owners], near_similarities, 0)[order], groups, 0.0)
        for flags in (hits.is_written, hits.is_long)
    )
    # A name may be the text and yet be found by the long form, so names are compared, not hits.
    names = hits.names[owners[best]]
    is_written, is_long = (
        names == _exact_names(hits, flags, n_mentions)[mentions[best]]
        for flags in (hits.is_written, hits.is_long)
    )
    pairs = CandidateTable(
        offsets=offsets_of(mentions[best], n_mentions),
        entities=entities[best],
        queries=hits.queries[owners[best]],
        rows=hits.rows[owners[best]],
        names=names,
        base=base[best],
        similarities=similarities[owners[best]],
        written=written,
        long=long,
        is_written=is_written,
        is_long=is_long,
        log_priors=log_priors[best],
        link_counts=counts[best],
        is_preferred=preferred[best],
        n_rows=segment_sum(near[order].astype(np.float32), groups),
        is_near=near[best],
    )
    ranks = (pairs.entities, ~pairs.is_preferred, ~exact[best], -pairs.base, ~pairs.is_near)
    order = np.lexsort((*ranks, pairs.mentions))
    kept = order[pairs.places < limit]
    kept_pairs = pairs.take(kept)
    return kept_pairs._replace(base=_falling(kept_pairs))


def _base_scores(hits: Hits, similarities: np.ndarray) -> np.ndarray:
    """RETURNS (np.ndarray): (h,) float32, similarities as far as they decide the order."""
    share = np.where(hits.is_long, np.float32(1.0), np.float32(WRITTEN_SHARE))
    return np.round(similarities, DECIMALS) * share


def _exact_first(
    base: np.ndarray, owners: np.ndarray, hits: Hits, similarities: np.ndarray
) -> np.ndarray:
    """Put names that are only nearly the text behind the best one that is the text.

    base (np.ndarray): (m,) float32, of links.
    owners (np.ndarray): (m,) int64, the hit of each.
    hits (Hits): The rows.
    similarities (np.ndarray): (h,) float32, of the hits.
    RETURNS (np.ndarray): (m,) float32.
    """
    queries, is_exact = hits.queries[owners], hits.is_exact[owners]
    best = np.full(int(hits.queries.max(initial=-1)) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(best, queries[is_exact], base[is_exact])
    # The next smaller number: behind the text's own name, and before all that stood behind it.
    just_below = np.where(np.isfinite(best), np.nextafter(best, np.float32(0)), np.inf)
    is_rival = ~is_exact & (similarities[owners] >= NEAR_EQUAL)
    return np.where(is_rival, np.minimum(base, just_below[queries]), base).astype(np.float32)


def _exact_names(hits: Hits, is_of_form: np.ndarray, n_mentions: int) -> np.ndarray:
    """RETURNS (np.ndarray): (n_mentions,) int64, the name that a form of each mention is; -1 for none."""
    names = np.full(n_mentions, -1, dtype=np.int64)
    found = hits.is_exact & is_of_form
    names[hits.mentions[found]] = hits.names[found]
    return names


def _falling(pairs: CandidateTable) -> np.ndarray:
    """RETURNS (np.ndarray): (p,) float32, base scores, those that are not near at most as high as the lowest near one."""
    lowest = segment_min(np.where(pairs.is_near, pairs.base, np.inf), pairs.offsets, np.inf)
    highest = over_runs(lowest, pairs.offsets).astype(np.float32)
    return np.where(pairs.is_near, pairs.base, np.minimum(pairs.base, highest))


def sort_runs(candidates: CandidateTable, scores: np.ndarray, limit: int) -> np.ndarray:
    """Sort the candidates of each mention, and keep the best.

    candidates (CandidateTable): The pairs.
    scores (np.ndarray): (p,) float32; equals stay in the order that they are in.
    limit (int): Candidates to keep of each mention.
    RETURNS (np.ndarray): (k,) int64, the pairs that are kept, run after run.
    """
    return np.lexsort((-scores, candidates.mentions))[candidates.places < limit]


def join_candidates(parts: list[CandidateTable]) -> CandidateTable:
    """RETURNS (CandidateTable): The runs of several tables, one table after the other."""
    offsets = offsets_of_lengths(np.concatenate([np.diff(part.offsets) for part in parts]))
    columns = (np.concatenate(values) for values in zip(*(part[1:] for part in parts), strict=True))
    return CandidateTable(offsets, *columns)
