"""Whether a knowledge base holds together, beyond the checksums of its files."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from ..errors import Errors, MetricELError
from .index.row_vectors import RowVectors
from .knowledge_base import FaissKnowledgeBase
from .records import Records


def check_kb(kb: FaissKnowledgeBase) -> None:
    """Look for what a search or a lookup would stumble over.

    kb (FaissKnowledgeBase): The knowledge base.
    RAISES (MetricELError): E139 with all that is wrong.
    """
    found = list(_problems_of_records(kb.records))
    if kb.vectors is not None:
        found += _problems_of_vectors(kb.vectors, kb.records)
    if found:
        raise MetricELError(Errors.E139.format(path=kb.path, problems="; ".join(found)))


def _problems_of_records(records: Records) -> Iterator[str]:
    ids = records.entities["concept_id"]
    if pc.any(pc.less_equal(ids[1:], ids[:-1])).as_py():
        yield "concept ids are not sorted"
    hashes = records.names["hash"].to_numpy()
    if (hashes[1:] < hashes[:-1]).any():
        yield "names are not sorted by their hashes"
    if (np.diff(records.name_offsets) < 1).any():
        yield "a name has no concept"
    entities = records.name_entities
    if len(entities) and not 0 <= entities.min() <= entities.max() < records.n_entities:
        yield "a name is linked to a concept that is not there"
    elif len(np.unique(entities)) < records.n_entities:
        yield "a concept has no name"
    lookup = records.entities["id_record"].to_numpy()
    if not np.array_equal(np.sort(lookup), np.arange(records.n_entities)):
        yield "the lookup of concept ids is damaged"


def _problems_of_vectors(vectors: RowVectors, records: Records) -> Iterator[str]:
    names = vectors.names
    if len(names) and not 0 <= names.min() <= names.max() < records.n_names:
        yield "a row stands for what is not there"
    elif (np.diff(names) == 0).any():
        yield "two rows stand for the same"
    elif (np.diff(names) < 0).any():
        yield "the rows are not in the order of names"
