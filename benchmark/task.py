"""What every row gets, and what is asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from spacy.language import Language

from spacy_metric_el.corpus.pubtator import read_pubtator
from spacy_metric_el.kb import FaissKnowledgeBase

from .errors import BenchmarkError, Errors
from .mentions import Corpus, make_tokenizer, read_corpus
from .names import Candidates, NameTable, read_names

TOP_K = 64
"""Candidates that are looked at."""


@dataclass
class Task:
    """A knowledge base, and a corpus to learn from.

    kb_path (Path): The folder of the knowledge base.
    train_path (Path): A PubTator file.
    train_limit (int): Take only so many training documents; 0 for all.
    seed (int): Of everything that is drawn.
    progress (bool): Whether to show progress bars.
    """

    kb_path: Path
    train_path: Path
    train_limit: int = 0
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for path, is_there in (
            (self.kb_path, self.kb_path.is_dir()),
            (self.train_path, self.train_path.is_file()),
        ):
            if not is_there:
                raise BenchmarkError(Errors.E401.format(path=path))

    @cached_property
    def nlp(self) -> Language:
        """RETURNS (Language): Tokens and sentences."""
        return make_tokenizer()

    @cached_property
    def kb(self) -> FaissKnowledgeBase:
        """RETURNS (FaissKnowledgeBase): The knowledge base."""
        return FaissKnowledgeBase.from_disk(self.kb_path)

    @cached_property
    def names(self) -> NameTable:
        """RETURNS (NameTable): All its names."""
        return read_names(self.kb)

    @cached_property
    def concept_ids(self) -> frozenset[str]:
        """RETURNS (frozenset[str]): All its concepts."""
        return frozenset(self.names.concepts)

    @cached_property
    def train_mentions(self) -> list[tuple[str, tuple[str, ...]]]:
        """RETURNS (list[tuple[str, tuple[str, ...]]]): Texts and concept ids, one or more, of
        the training mentions."""
        return [
            (mention.text, mention.concept_ids)
            for document in islice(read_pubtator(self.train_path), self.train_limit or None)
            for mention in document.mentions
            if mention.concept_ids
        ]

    def train_corpus(self) -> Corpus:
        """RETURNS (Corpus): The training documents, for rows that read contexts."""
        return read_corpus(self.nlp, self.train_path, limit=self.train_limit, abbreviations=False)


@dataclass
class Training:
    """What a row did before it could link.

    build_seconds (float): Indexing, encoding of names, reading.
    seconds (float): Learning; 0 for a row that learns nothing.
    details (dict[str, Any]): Steps, losses and the like.
    """

    build_seconds: float = 0.0
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


class Row(Protocol):
    """A linker.

    name (str): What its line of the table is called.
    settings (dict[str, Any]): What it was made with.
    notes (list[str]): What a reader of its figures has to know.
    depth (int): Candidates that it looks for by default.
    """

    name: str
    settings: dict[str, Any]
    notes: list[str]
    depth: int

    def train(self, task: Task) -> Training:
        """Make ready: index the knowledge base, and learn."""

    def link(self, corpus: Corpus, *, top_k: int) -> Sequence[Candidates]:
        """RETURNS (Sequence[Candidates]): For each mention of the corpus, best first."""


@runtime_checkable
class LongFormReader(Protocol):
    """A linker that finds out by itself what abbreviations mean: no document is rewritten for it."""

    def link_with_long_forms(self, corpus: Corpus, *, top_k: int) -> Sequence[Candidates]:
        """RETURNS (Sequence[Candidates]): As `link`, which must not read long forms."""
