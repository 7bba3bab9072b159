"""Corpora that spaCy's training loop reads, as registered readers."""

import logging
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.training import Example

from ..errors import Errors, MetricELError, Warnings
from ..kb.entity import Entity
from ..kb.importers import read_entities
from ..kb.importers.options import ReadOptions
from .alignment import AlignmentCounts, make_gold_doc
from .pubtator import PubTatorDocument, PubTatorMention, read_pubtator

logger = logging.getLogger("spacy_metric_el")


def _check_at_least(setting: str, value: int, least: int) -> None:
    if value < least:
        raise MetricELError(
            Errors.E211.format(setting=setting, value=value, expected=f"{least} or more")
        )


def _make_example(nlp: Language, document: PubTatorDocument) -> tuple[Example, AlignmentCounts]:
    """Pair the annotated Doc with one as the tokenizer makes it, without annotations."""
    reference, counts = make_gold_doc(nlp, document)
    # Not from the words of the reference: that would lose the norms of the tokenizer.
    predicted = nlp.make_doc(document.text)
    predicted.user_data["doc_id"] = document.doc_id
    return Example(predicted, reference), counts


class PubTatorCorpus:
    """Examples from a PubTator file, one per document.

    The file is streamed until one pass has gone through; later passes take the
    parsed documents from memory. `counts` tells how the mentions of the last
    complete pass were placed on tokens, and the first one logs it.

    path (str | Path): The file, plain or `.gz`.
    limit (int): Take only so many documents from the file; 0 for all.
    shuffle (bool): Give another order at each pass. The file is then read as a
        whole before the first document.
    seed (int): The seed of these orders.
    RAISES (MetricELError): E211 for a negative limit.
    """

    def __init__(
        self, path: str | Path, *, limit: int = 0, shuffle: bool = False, seed: int = 0
    ) -> None:
        _check_at_least("limit", limit, 0)
        self.path = Path(path)
        self.limit = limit
        self.shuffle = shuffle
        self.counts = AlignmentCounts()
        self._random = random.Random(seed)
        self._documents: list[PubTatorDocument] | None = None
        self._logged = False

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Make the examples of one pass.

        nlp (Language): The pipeline whose tokenizer is used.
        YIELDS (Example): The words as predicted, the mentions as reference.
        RAISES (MetricELError): What `read_pubtator` raises.
        """
        documents, total = self._iter_documents(), AlignmentCounts()
        for document in documents:
            example, counts = _make_example(nlp, document)
            total += counts
            yield example
        self.counts = total
        self._log_counts()

    def _iter_documents(self) -> Iterable[PubTatorDocument]:
        if not self.shuffle:
            return self._stream_documents() if self._documents is None else self._documents
        if self._documents is None:
            self._documents = list(self._read_documents())
        return self._random.sample(self._documents, len(self._documents))

    def _read_documents(self) -> Iterator[PubTatorDocument]:
        return islice(read_pubtator(self.path), self.limit or None)

    def _stream_documents(self) -> Iterator[PubTatorDocument]:
        documents = []
        for document in self._read_documents():
            documents.append(document)
            yield document
        self._documents = documents

    def _log_counts(self) -> None:
        counts, is_lossy = self.counts, bool(self.counts.expanded or self.counts.dropped)
        if not self._logged:
            text = Warnings.W202.format(
                path=self.path,
                mentions=counts.mentions,
                expanded=counts.expanded,
                overlapping=counts.overlapping,
                dropped=counts.dropped,
                nil=counts.nil,
            )
            logger.log(logging.WARNING if is_lossy else logging.INFO, text)
        self._logged = True


class KBSynonymCorpus:
    """Examples from the names of a vocabulary, one per name; no annotated text is needed.

    Each name is a document of its own whose only mention is the whole name.
    With `training.max_epochs = -1` spaCy streams a corpus again for every epoch,
    which draws new names; with 0 or more it keeps all examples in memory.

    path (str | Path): A file that `read_entities` can read.
    format (str | None): Its format, such as `jsonl` or `obo`; known by ending and
        content if None.
    id_prefix (str): In formats that refer to concepts by cross references, the
        prefix of the concept ids.
    min_names (int): Skip concepts with fewer names than that.
    max_names (int): Draw so many names, at each pass anew, from concepts with more.
    label (str): The label of the mentions.
    limit (int): Take only so many concepts; 0 for all.
    seed (int): The seed of the draws.
    RAISES (MetricELError): E211 for a setting out of its range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        id_prefix: str = "UMLS",
        min_names: int = 2,
        max_names: int = 16,
        label: str = "CONCEPT",
        limit: int = 0,
        seed: int = 0,
    ) -> None:
        _check_at_least("min_names", min_names, 1)
        _check_at_least("max_names", max_names, min_names)
        _check_at_least("limit", limit, 0)
        self.path = Path(path)
        self.format = format
        self.id_prefix = id_prefix
        self.min_names = min_names
        self.max_names = max_names
        self.label = label
        self.limit = limit
        self.seed = seed
        self._passes = 0

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Make the examples of one pass.

        nlp (Language): The pipeline whose tokenizer is used.
        YIELDS (Example): The words of a name as predicted, its concept as reference.
        RAISES (MetricELError): E210 if no concept has enough names, and what
            `read_entities` raises.
        """
        draw = random.Random(f"{self.seed}:{self._passes}")
        self._passes += 1
        entity = None
        for entity in islice(self._iter_entities(), self.limit or None):
            for name in self._draw_names(entity, draw):
                yield _make_example(nlp, self._make_document(entity, name))[0]
        if entity is None:
            raise MetricELError(Errors.E210.format(path=self.path, min_names=self.min_names))

    def _iter_entities(self) -> Iterator[Entity]:
        entities = read_entities(
            self.path, ReadOptions(id_prefix=self.id_prefix), format=self.format
        )
        return (entity for entity in entities if len(entity.aliases) >= self.min_names)

    def _draw_names(self, entity: Entity, draw: random.Random) -> list[str]:
        names = entity.aliases
        return names if len(names) <= self.max_names else draw.sample(names, self.max_names)

    def _make_document(self, entity: Entity, name: str) -> PubTatorDocument:
        concept_id = entity.concept_id
        mention = PubTatorMention(0, len(name), name, self.label, (concept_id,))
        return PubTatorDocument(concept_id, name, (mention,))
