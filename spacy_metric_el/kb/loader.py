"""Registered ways to a knowledge base, for a config's [initialize] block."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .knowledge_base import FaissKnowledgeBase


class KBFromDisk:
    """Opens a folder when it is called: construction stays cheap and loads nothing.

    Registered as `spacy_metric_el.FaissKnowledgeBase.v1`.

    path (str | Path): A folder made by `spacy metric-el kb build`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, vocab: object = None) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): The folder, opened; `vocab` is not used, as in spaCy's loaders."""
        from .knowledge_base import FaissKnowledgeBase

        return FaissKnowledgeBase.from_disk(self.path)
