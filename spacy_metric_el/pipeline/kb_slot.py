"""Where a linker holds its knowledge base, or knows of the folder where it should be."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from spacy.vocab import Vocab

from ..errors import Errors, MetricELError, MetricELWarning, Warnings

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase


class KBSlot:
    """Holds the knowledge base of a linker.

    A saved pipeline may point to a folder that is not there where it is loaded. That
    is an error only once the knowledge base is needed, and saving keeps the place.

    name (str): Name of the linker.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kb: FaissKnowledgeBase | None = None
        self.missing: str | None = None

    def require(self) -> "FaissKnowledgeBase":
        """RETURNS (FaissKnowledgeBase): The knowledge base. RAISES (MetricELError): E001 if none is set, E010 if the one that the pipeline points to is gone."""
        if self.kb is None and self.missing is not None:
            raise MetricELError(Errors.E010.format(path=self.missing))
        if self.kb is None:
            raise MetricELError(Errors.E001.format(name=self.name))
        return self.kb

    def fill(
        self, kb: "FaissKnowledgeBase | Callable[..., FaissKnowledgeBase]", vocab: Vocab
    ) -> None:
        """Take a knowledge base.

        kb (FaissKnowledgeBase | Callable): The knowledge base, or what makes it of a vocab.
        vocab (Vocab): The pipeline's.
        RAISES (MetricELError): E007 for anything else.
        """
        from ..kb import FaissKnowledgeBase

        loaded = kb(vocab) if callable(kb) else kb
        if not isinstance(loaded, FaissKnowledgeBase):
            raise MetricELError(Errors.E007.format(found=type(loaded).__name__))
        self.kb = loaded
        self.missing = None

    def place(self) -> str | None:
        """RETURNS (str | None): The folder to point to; with a warning (W006) if the knowledge base lies in none."""
        if self.kb is None:
            return self.missing
        if self.kb.path is None:
            message = Warnings.W006.format(name=self.name)
            warnings.warn(message, MetricELWarning, stacklevel=6)
            return self.missing
        return str(self.kb.path.resolve())
