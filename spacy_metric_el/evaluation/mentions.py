"""The one record that every measure in this room reads."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkedMention:
    """A mention with the concepts an annotator gave it and those a linker found.

    A composite annotation names several concepts, and any one of them is right.

    doc_id (str): The document that the mention stands in.
    text (str): The mention as written.
    gold (frozenset[str]): The annotated concept ids; empty for an unlinked (NIL) mention.
    candidates (tuple[tuple[str, float], ...]): Concept ids and scores, best first.
    """

    doc_id: str
    text: str
    gold: frozenset[str]
    candidates: tuple[tuple[str, float], ...]

    @property
    def prediction(self) -> str:
        """RETURNS (str): The id of the best candidate; empty where there is none."""
        return self.candidates[0][0] if self.candidates else ""

    @property
    def score(self) -> float:
        """RETURNS (float): The score of the best candidate; minus infinity where there is none."""
        return float(self.candidates[0][1]) if self.candidates else float("-inf")

    @property
    def rank(self) -> int:
        """RETURNS (int): The place of the first right candidate, from 1; 0 where none is right."""
        for place, (concept, _) in enumerate(self.candidates, start=1):
            if concept in self.gold:
                return place
        return 0


def is_right(mention: LinkedMention) -> float:
    """Judge the best candidate of a mention.

    mention (LinkedMention): The mention.
    RETURNS (float): 1.0 where the best candidate is right, else 0.0.
    """
    return float(mention.prediction in mention.gold)


def reciprocal_rank(mention: LinkedMention) -> float:
    """Judge the whole candidate list of a mention.

    mention (LinkedMention): The mention.
    RETURNS (float): 1 / the place of the first right candidate; 0.0 where none is right.
    """
    rank = mention.rank
    return 1.0 / rank if rank else 0.0
