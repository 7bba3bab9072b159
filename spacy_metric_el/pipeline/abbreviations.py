"""scispaCy's abbreviation detector, under a factory name that needs no import of scispaCy."""

import warnings
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc


class QuietAbbreviationDetector:
    """Runs scispaCy's detector, without spaCy's warning for documents without abbreviations.

    A document may come again: what was found before is replaced.

    detector (Any): A `scispacy.abbreviation.AbbreviationDetector`.
    """

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def __call__(self, doc: Doc) -> Doc:
        """RETURNS (Doc): The document, with `doc._.abbreviations`."""
        doc._.abbreviations = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"\[W036\]")
            return self.detector(doc)


@Language.factory(
    "scispacy_abbreviation_detector",
    assigns=["doc._.abbreviations", "span._.long_form"],
    default_config={"make_serializable": True},
)
def make_abbreviation_detector(
    nlp: Language, name: str, make_serializable: bool
) -> QuietAbbreviationDetector:
    """Construct the detector. scispaCy is imported here, when it is asked for.

    nlp (Language): The pipeline.
    name (str): Name of the component.
    make_serializable (bool): scispaCy's setting: `doc._.abbreviations` holds
        dictionaries, and documents can be written, and come from other processes.
        Else it holds spans, and they cannot.
    RETURNS (QuietAbbreviationDetector): The component.
    """
    from scispacy.abbreviation import AbbreviationDetector

    return QuietAbbreviationDetector(AbbreviationDetector(nlp, name, make_serializable))
