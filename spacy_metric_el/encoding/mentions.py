"""Mentions of documents to what the search takes: their texts, and vectors of both forms."""

from collections.abc import Sequence

import numpy as np
from spacy.tokens import Doc

from ..geometry import unit_rows
from ..mentions import EncodedMentions, MentionTable, SpanRef
from ..model.encoder import encoder_input
from ..stages import stage
from .linker_encoder import LinkerEncoder
from .long_forms import long_forms


def encode_mentions(
    encoder: LinkerEncoder,
    docs: Sequence[Doc],
    spans: Sequence[SpanRef],
    labels: Sequence[str],
    *,
    first_document: int = 0,
) -> EncodedMentions:
    """Encode mentions for the search.

    encoder (LinkerEncoder): With weights.
    docs (Sequence[Doc]): Documents that have been through the upstream component.
    spans (Sequence[SpanRef]): The mentions; those of a document together.
    labels (Sequence[str]): The entity label of each span.
    first_document (int): The number that the first document gets.
    RETURNS (EncodedMentions): Mentions and queries.
    RAISES (MetricELError): E003, and E009 for a span without tokens.
    """
    with stage("long forms"):
        written = [docs[i][start:end].text for i, start, end in spans]
        long = long_forms(docs, spans)
    differing = [i for i, text in enumerate(written) if text != long[i]]
    queries = [*spans, *(spans[i] for i in differing)]
    texts = [*long, *(written[i] for i in differing)]
    with stage("vectors of mentions"):
        vectors = encoder.encode(encoder_input(docs, queries, texts))
    width = encoder.context_width
    context = unit_rows(vectors[: len(spans), :width])
    if not encoder.has_name_context:
        vectors[:, :width] = 0.0
    owners = np.asarray([*range(len(spans)), *differing], dtype=np.int64)
    is_long = np.arange(len(queries)) < len(spans)
    is_written = np.ones(len(queries), dtype=bool)
    is_written[differing] = False
    documents = np.asarray([span[0] for span in spans], dtype=np.int64) + first_document
    table = MentionTable(documents, written, long, list(labels), context)
    return EncodedMentions(table, vectors, owners, is_written, is_long, texts)
