"""Made-up training mentions, and what is learned from them, by plain loops."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from spacy_metric_el.mentions import MentionTable
from spacy_metric_el.ranking.candidates import Hits, OwnUsage, collect_candidates
from spacy_metric_el.ranking.counts import count_pairs
from spacy_metric_el.ranking.labels import learn_labels
from spacy_metric_el.ranking.prototypes import Prototypes, own_mentions
from spacy_metric_el.ranking.ranker import Own
from spacy_metric_el.text import normalise_name

from ..util import make_records

PRIOR_WEIGHT = 0.1
WIDTH = 8


class Mention(NamedTuple):
    """A mention of one concept, as an annotator or an encoder would see it."""

    document: int
    text: str
    concept_id: str
    label: str
    context: tuple
    long: str = ""


def records_of(entities, mentions):
    """RETURNS (Records): The vocabulary, with the mentions counted."""
    return make_records(entities, Counter((m.text, m.concept_id) for m in mentions))


def table_of(mentions):
    contexts = np.zeros((len(mentions), WIDTH), dtype=np.float32)
    for row, mention in zip(contexts, mentions, strict=True):
        row[: len(mention.context)] = mention.context
        row /= np.linalg.norm(row)
    return MentionTable(
        np.asarray([m.document for m in mentions], dtype=np.int64),
        [m.text for m in mentions],
        [m.long or m.text for m in mentions],
        [m.label for m in mentions],
        contexts,
    )


def make_hits(found):
    """RETURNS (Hits): From a tuple for each hit, in the order of the fields."""
    columns = zip(*found, strict=True) if found else [()] * len(Hits._fields)
    dtypes = np.int64, np.int64, np.int64, np.int64, np.float32, bool, bool, bool, bool
    return Hits(*(np.asarray(c, dtype=dtype) for c, dtype in zip(columns, dtypes, strict=True)))


def hits_of(mentions, records):
    """Find the names that share a word, by each form."""
    found = []
    keys = records.names["key"].to_pylist()
    n_queries = 0
    for i, mention in enumerate(mentions):
        long = mention.long or mention.text
        forms = [(long, long == mention.text, True)]
        forms += [(mention.text, True, False)] * (long != mention.text)
        for text, *flags in forms:
            words = set(text.lower().split())
            for name, key in enumerate(keys):
                shared = words & set(key.split())
                if shared:
                    similarity = len(shared) / len(words | set(key.split()))
                    is_exact = key == normalise_name(text)
                    found.append((i, n_queries, name, name, similarity, *flags, is_exact, True))
            n_queries += 1
    return make_hits(found)


def candidates_of(mentions, records, own=None, limit=20):
    """RETURNS (tuple): The candidates, and made-up cosines of the channels."""
    usage = own.usage if own is not None else None
    hits = hits_of(mentions, records)
    found = collect_candidates(
        hits, records, len(mentions), limit=limit, prior_weight=PRIOR_WEIGHT, own=usage
    )
    return found, np.stack((found.similarities, found.similarities / 2), axis=1)


def clusters_of(mentions):
    """RETURNS (list[tuple]): The cluster of each mention: one for each sign of the context."""
    return [(m.concept_id, m.context[0] > 0) for m in mentions]


def learn(mentions, records):
    """RETURNS (tuple): Prototypes, labels, and what each document contributed itself."""
    n = records.n_entities
    entities = np.asarray([records.entity_index(m.concept_id) for m in mentions], dtype=np.int64)
    table = table_of(mentions)
    names = sorted(set(clusters_of(mentions)))
    clusters = np.asarray([names.index(c) for c in clusters_of(mentions)], dtype=np.int64)
    sums = np.zeros((len(names), table.context.shape[1]), dtype=np.float32)
    np.add.at(sums, clusters, table.context)
    sizes = np.bincount(clusters, minlength=len(names)).astype(np.float32)
    owners = np.asarray([records.entity_index(cid) for cid, _ in names], dtype=np.int64)
    links = [link_of(records, m) for m in mentions]
    usage = OwnUsage(
        table.documents,
        count_pairs(table.documents, np.asarray(links), len(records.name_entities)),
        count_pairs(table.documents, entities, n),
    )
    own = own_mentions(table.documents, table.documents, clusters, table.context, len(names))
    labels = learn_labels(entities, table.labels, n)
    return Prototypes(sums, sizes, owners), labels, Own(usage, own)


def link_of(records, mention):
    name = records.name_index(mention.text)
    for link in range(*records.name_offsets[name : name + 2]):
        if records.concept_id(records.name_entities[link]) == mention.concept_id:
            return link
    raise AssertionError(f"no link for {mention}")


def is_right(mentions, candidates, records):
    gold = [records.entity_index(m.concept_id) for m in mentions]
    pairs = zip(candidates.mentions, candidates.entities, strict=True)
    return np.asarray([entity == gold[i] for i, entity in pairs], dtype=bool)
