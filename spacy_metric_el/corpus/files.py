"""Annotated corpora that the commands read, PubTator or spaCy's binary format."""

import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Errors, MetricELError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.vocab import Vocab

PUBTATOR_SUFFIXES = (".pubtator", ".txt")
DOCBIN_SUFFIX = ".spacy"


def is_pubtator(path: Path) -> bool:
    """RETURNS (bool): Whether a file's name says PubTator, gzipped or not."""
    return path.name.lower().removesuffix(".gz").endswith(PUBTATOR_SUFFIXES)


def check_corpus(path: Path, *, docbin: bool = True) -> Path:
    """Check that a corpus is there and of a known kind, before anything slow is done.

    path (Path): The file.
    docbin (bool): Whether spaCy's binary format will do.
    RETURNS (Path): The same file.
    RAISES (MetricELError): E103 if it is missing, E305 for an unknown ending.
    """
    if not path.is_file():
        raise MetricELError(Errors.E103.format(path=path))
    if not (is_pubtator(path) or (docbin and path.suffix == DOCBIN_SUFFIX)):
        known = [ending for suffix in PUBTATOR_SUFFIXES for ending in (suffix, f"{suffix}.gz")]
        known += [DOCBIN_SUFFIX] if docbin else []
        raise MetricELError(Errors.E305.format(path=path, known=", ".join(known)))
    return path


def read_examples(nlp: "Language", path: Path, *, limit: int = 0) -> Iterator["Example"]:
    """Stream the examples of a corpus.

    nlp (Language): The pipeline whose tokenizer is used.
    path (Path): As `check_corpus` takes it.
    limit (int): Take only so many documents; 0 for all.
    RETURNS (Iterator[Example]): Bare documents, with the annotated ones as reference.
    """
    if is_pubtator(path):
        from .readers import PubTatorCorpus

        return PubTatorCorpus(path, limit=limit)(nlp)
    docs = islice(_read_docbin(path, nlp.vocab), limit or None)
    return (_make_example(nlp, doc) for doc in docs)


def read_mentions(path: Path, *, nil: str = "NIL") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Stream the linked mentions of a corpus, without tokenizing.

    path (Path): As `check_corpus` takes it.
    nil (str): The id that says that a mention is not linked.
    YIELDS (tuple[str, tuple[str, ...]]): Texts with their concept ids, one or more.
    """
    if is_pubtator(path):
        from .pubtator import read_pubtator

        for document in read_pubtator(path):
            for mention in document.mentions:
                if mention.concept_ids:
                    yield mention.text, mention.concept_ids
        return
    from spacy.vocab import Vocab

    from .alignment import split_ids
    from .gold import gold_spans

    for doc in _read_docbin(path, Vocab()):
        for span in gold_spans(doc):
            ids = split_ids(span.kb_id_, nil=nil)
            if ids:
                yield span.text, ids


def _read_docbin(path: Path, vocab: "Vocab") -> Iterator["Doc"]:
    from spacy.tokens import DocBin

    try:
        docbin = DocBin().from_disk(path)
    except (zlib.error, ValueError, KeyError, TypeError) as err:
        raise MetricELError(Errors.E306.format(path=path, reason=err)) from err
    return docbin.get_docs(vocab)


def _make_example(nlp: "Language", reference: "Doc") -> "Example":
    from spacy.tokens import Doc
    from spacy.training import Example

    if not reference.has_unknown_spaces:
        return Example(nlp.make_doc(reference.text), reference)
    words = [token.text for token in reference]
    spaces = [bool(token.whitespace_) for token in reference]
    return Example(Doc(nlp.vocab, words=words, spaces=spaces), reference)
