"""Documents of names, made in a vocabulary that is thrown away.

Hundreds of thousands of names would leave their words in the pipeline's own
string store for good.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from spacy.vectors import Vectors
from spacy.vocab import Vocab


def throwaway_tokenizer(nlp: Language) -> Tokenizer | None:
    """Copy a pipeline's tokenizer onto a vocabulary of its own.

    nlp (Language): The pipeline.
    RETURNS (Tokenizer | None): None if the pipeline's tokenizer is of another kind.
    """
    tokenizer = nlp.tokenizer
    # A subclass may tokenise in ways that its settings do not tell.
    if not isinstance(tokenizer, Tokenizer) or type(tokenizer) is not Tokenizer:
        return None
    vocab = Vocab(
        lex_attr_getters=nlp.vocab.lex_attr_getters,  # type: ignore[attr-defined]
        lookups=nlp.vocab.lookups,
        writing_system=nlp.vocab.writing_system,
    )
    vocab.vectors = _shared_vectors(nlp.vocab.vectors, vocab)
    return Tokenizer(
        vocab,
        rules=tokenizer.rules,
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        token_match=tokenizer.token_match,
        url_match=tokenizer.url_match,
    )


def _shared_vectors(vectors: Any, vocab: Vocab) -> Any:
    """Put a view on word vectors that has the strings of another vocabulary.

    Setting the very object would swap its strings for those of the throw-away
    vocabulary: they would collect all names, and be saved with the pipeline.
    """
    if not isinstance(vectors, Vectors):
        return vectors
    settings = ("data", "name", "mode", "minn", "maxn", "hash_count", "hash_seed", "bow", "eow")
    shared: Any = Vectors(
        strings=vocab.strings,
        attr=vectors.attr,
        **{setting: getattr(vectors, setting) for setting in settings},
    )
    shared.key2row = vectors.key2row
    return shared


def make_name_docs(names: Iterable[str], tokenizer: Tokenizer) -> tuple[list[Doc], np.ndarray]:
    """Tokenise names.

    names (Iterable[str]): None of them empty.
    tokenizer (Tokenizer): From `throwaway_tokenizer`.
    RETURNS (tuple[list[Doc], np.ndarray]): Documents, and their spans of all tokens, (n, 3)
        int64, as `EncoderInput` has them.
    """
    docs = [tokenizer(name) for name in names]
    spans = np.zeros((len(docs), 3), dtype=np.int64)
    spans[:, 0] = np.arange(len(docs))
    spans[:, 2] = [len(doc) for doc in docs]
    return docs, spans


def length_batches(lengths: Sequence[int], max_size: int) -> list[list[int]]:
    """Batch indices of similar length.

    lengths (Sequence[int]): A length for each item.
    max_size (int): Largest product of a batch's longest length and its number of items.
    RETURNS (list[list[int]]): Batches of indices, shortest items first.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > max_size:
            batches.append(batch)
            batch = []
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches
