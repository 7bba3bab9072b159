"""`spacy metric-el`: knowledge bases, corpora and evaluation from the command line.

spaCy imports this through its entry point whenever any of its commands runs, and
takes nothing but the import: the app adds itself to spaCy's. Heavy libraries are
imported inside the commands.
"""

from . import (
    convert,
    evaluate,
    kb_build,
    kb_change,
    kb_export,
    kb_info,
    kb_search,
    kb_verify,
)
from ._util import app

__all__ = [
    "app",
    "convert",
    "evaluate",
    "kb_build",
    "kb_change",
    "kb_export",
    "kb_info",
    "kb_search",
    "kb_verify",
]
