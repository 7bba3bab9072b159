"""Where a linker holds its ranker, and makes it fit the knowledge base that is set."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from spacy.training import Example

from ..errors import Errors, MetricELError

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from ..ranking.ranker import CandidateRanker
    from .linker import MetricEntityLinker

GetExamples = Callable[[], Iterable[Example]]


class RankerSlot:
    """Holds the ranker of a linker, or what one is to be made of.

    What was learned is kept by concept id. It becomes a ranker once there is a
    knowledge base, and again for each other one.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        self.get_examples: GetExamples | None = None
        self._ranker: CandidateRanker | None = None

    def fill(self, ranker: "CandidateRanker | None") -> None:
        """Take a ranker, or give up the one that is there (None)."""
        self._ranker = ranker
        self.state = ranker.to_dict() if ranker is not None else None

    def fit(
        self,
        linker: "MetricEntityLinker",
        nlp: Language,
        get_examples: GetExamples | None,
        *,
        progress: bool,
    ) -> None:
        """Fit a ranker, and take it; see `fit_ranker`.

        linker (MetricEntityLinker): The linker that has the slot.
        nlp (Language): The pipeline that the linker stands in.
        get_examples (Callable | None): Returns annotated documents; those of `begin`, if None.
        progress (bool): Whether to show progress bars.
        RAISES (MetricELError): E012 and E014 if there is nothing to learn from.
        """
        from ..training.fit_ranker import fit_ranker

        found = self.examples(linker.name, get_examples)
        self.fill(fit_ranker(linker, nlp, found, progress=progress))

    def begin(self, get_examples: GetExamples) -> None:
        """Start over with a fresh encoder, which what was learned does not fit.

        get_examples (Callable): Returns the documents that the linker is initialized with.
        """
        self.fill(None)
        self.get_examples = get_examples

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take what was learned from a saved linker; it is looked at when it is needed.

        state (dict[str, Any] | None): As `CandidateRanker.to_dict` gave it.
        """
        self._ranker, self.state = None, state

    def ranker_for(self, kb: "FaissKnowledgeBase") -> "CandidateRanker | None":
        """RETURNS (CandidateRanker | None): The ranker for a knowledge base; None if none was fitted. RAISES (MetricELError): E013 for the evidence of another version."""
        if self.state is None:
            return None
        if self._ranker is None or self._ranker.records is not kb.records:
            from ..ranking.ranker import EVIDENCE, CandidateRanker

            if self.state.get("features") != EVIDENCE:
                raise MetricELError(Errors.E013)
            self._ranker = CandidateRanker.from_dict(self.state, kb.records)
        return self._ranker

    def examples(self, name: str, given: GetExamples | None) -> GetExamples:
        """Find the documents to fit a ranker to.

        name (str): Name of the linker.
        given (Callable | None): Returns annotated documents.
        RETURNS (Callable): What is given, else what the linker was initialized with.
        RAISES (MetricELError): E014 if there is neither.
        """
        found = given or self.get_examples
        if found is None:
            raise MetricELError(Errors.E014.format(name=name))
        return found
