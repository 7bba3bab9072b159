"""Running a row: train, link, measure, write."""

import logging
import resource
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from spacy_metric_el.evaluation.evaluate import evaluate_links
from spacy_metric_el.evaluation.mentions import LinkedMention
from spacy_metric_el.evaluation.metrics import share
from spacy_metric_el.text import normalise_name

from .errors import BenchmarkError, Errors
from .mentions import Corpus, Mention, expand_abbreviations, read_corpus
from .names import Candidates
from .results import COLUMNS, write_row
from .task import TOP_K, LongFormReader, Row, Task

logger = logging.getLogger("benchmark")


def run_row(
    row: Row,
    task: Task,
    *,
    corpus: str,
    test: Path,
    output: Path,
    limit: int = 0,
    subfolder: str = "",
) -> dict[str, Any]:
    """Train a row, link the gold mentions of a file, and write what came of it.

    Mentions that are short forms are linked twice, as written and with their long
    form in their place; the speed is that of the mentions as written. A linker that
    reads long forms itself gets the documents as they are.

    row (Row): The row.
    task (Task): Knowledge base and training corpus.
    corpus (str): What the corpus is called.
    test (Path): The file to measure on.
    output (Path): The folder `<output>/<corpus>` gets the files.
    limit (int): Take only so many documents of the file; 0 for all.
    subfolder (str): Of that folder, for rows that are not those of the table.
    RETURNS (dict[str, Any]): The measures, as written.
    RAISES (MetricELError): E402 if there is nothing to measure.
    """
    gold = read_corpus(task.nlp, test, limit=limit)
    if not any(mention.gold for mention in gold.mentions):
        raise BenchmarkError(Errors.E402.format(path=test))
    folder = output / corpus / subfolder
    measures: dict[str, Any] = {
        "row": row.name,
        "corpus": corpus,
        "test": str(test),
        "documents": len(gold.docs),
        "limit": limit,
        "kb": {
            "path": str(task.kb_path),
            "concepts": len(task.names.concepts),
            "names": len(task.names.keys),
        },
        "train": {"path": str(task.train_path), "limit": task.train_limit},
        "settings": row.settings,
    }
    try:
        training = row.train(task)
    except BenchmarkError as err:
        # A row that cannot be run is a line of the table as well.
        write_row(folder, row.name, {**measures, "notes": row.notes, "error": str(err)})
        raise
    started = perf_counter()
    found = row.link(gold, top_k=row.depth)
    seconds = perf_counter() - started
    off = deepen(found, row.link(gold, top_k=TOP_K)) if row.depth < TOP_K else list(found)
    on, n_short = link_long_forms(row, task, gold, off)
    measures |= {
        # What a row finds out about itself stands here too.
        "notes": row.notes,
        "training": {
            "build_seconds": training.build_seconds,
            "seconds": training.seconds,
            **training.details,
        },
        "link_seconds": seconds,
        "mentions_per_second": share(len(gold.mentions), seconds),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "short_forms": n_short,
        # Whether scores are meant to be the probability of being right.
        "probabilities": bool(getattr(row, "gives_probabilities", False)),
    }
    columns: dict[str, Sequence[Candidates]] = {"off": off, "on": on}
    for column, candidates in columns.items():
        measures[COLUMNS[column]] = evaluate(task, gold.mentions, candidates)
    write_row(folder, row.name, measures, gold.mentions, columns)
    return measures


def link_long_forms(
    row: Row, task: Task, gold: Corpus, off: Sequence[Candidates]
) -> tuple[list[Candidates], int]:
    """Link the mentions that are short forms by their long forms.

    row (Row): A trained row.
    task (Task): Its task.
    gold (Corpus): All mentions.
    off (Sequence[Candidates]): The candidates of all mentions as written.
    RETURNS (tuple[list[Candidates], int]): The candidates of all mentions, those of
        short forms by their long forms, and how many these are.
    """
    if isinstance(row, LongFormReader):
        n_short = sum(bool(mention.long_form) for mention in gold.mentions)
        return list(row.link_with_long_forms(gold, top_k=TOP_K)), n_short
    expanded, numbers = expand_abbreviations(task.nlp, gold)
    on = list(off)
    if numbers:
        found = row.link(expanded, top_k=row.depth)
        if row.depth < TOP_K:
            found = deepen(found, row.link(expanded, top_k=TOP_K))
        for number, candidates in zip(numbers, found, strict=True):
            on[number] = candidates
    return on, len(numbers)


def deepen(found: Sequence[Candidates], deeper: Sequence[Candidates]) -> list[Candidates]:
    """Put what a deeper search adds behind what a row finds by default.

    found (Sequence[Candidates]): By default.
    deeper (Sequence[Candidates]): With more candidates.
    RETURNS (list[Candidates]): At most as many as are looked at.
    """
    merged = []
    for default, more in zip(found, deeper, strict=True):
        known = {concept_id for concept_id, _ in default}
        added = tuple(candidate for candidate in more if candidate[0] not in known)
        merged.append((default + added)[:TOP_K])
    return merged


def evaluate(
    task: Task, mentions: Sequence[Mention], found: Sequence[Candidates]
) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): All measures of linked mentions."""
    names: set[str] = set()
    concepts: set[str] = set()
    for text, concept_ids in task.train_mentions:
        names.add(normalise_name(text))
        concepts.update(concept_ids)
    linked = [
        LinkedMention(mention.doc_id, mention.text, frozenset(mention.gold), candidates)
        for mention, candidates in zip(mentions, found, strict=True)
    ]
    measures = evaluate_links(
        linked, kb=task.concept_ids, seen_names=names, seen_entities=concepts, top_k=TOP_K
    )
    # The slices are there a second time, by their own keys.
    return {key: value for key, value in measures.items() if key not in measures["slices"]}
