"""What a linker warns of before training."""

import logging
import warnings
from collections.abc import Container, Iterable, Mapping
from itertools import islice
from typing import Any

from spacy.training import Example

from ..errors import MetricELWarning, Warnings

logger = logging.getLogger("spacy_metric_el")

CHECKED_EXAMPLES = 10_000
"""Examples whose gold concepts are looked for in the knowledge base."""


def warn_of_unknown_concepts(kb: Container[str], examples: Iterable[Example], *, nil: str) -> None:
    """Log (W004) how many gold concepts are not in the knowledge base, if any.

    kb (Container[str]): The knowledge base.
    examples (Iterable[Example]): The first of them are looked at.
    nil (str): The id that says that a mention is not linked.
    """
    from ..corpus.gold import gold_mentions

    gold = {
        concept_id
        for example in islice(examples, CHECKED_EXAMPLES)
        for mention in gold_mentions(example, nil=nil)
        for concept_id in mention.concept_ids
    }
    unknown = sorted(concept_id for concept_id in gold if concept_id not in kb)
    if unknown:
        first = ", ".join(unknown[:3])
        logger.warning(Warnings.W004.format(count=len(unknown), total=len(gold), examples=first))


def warn_of_accumulation(name: str, training: Mapping[str, Any]) -> None:
    """Warn (W001) of accumulated gradients, which tear clusters of mentions apart.

    name (str): Name of the linker.
    training (Mapping[str, Any]): The block [training] of the config; may be empty.
    """
    accumulate = training.get("accumulate_gradient", 1)
    if isinstance(accumulate, int) and accumulate > 1:
        message = Warnings.W001.format(name=name, value=accumulate)
        warnings.warn(message, MetricELWarning, stacklevel=3)
