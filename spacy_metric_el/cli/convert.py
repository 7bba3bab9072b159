"""`convert`: PubTator to spaCy's binary format."""

from pathlib import Path
from typing import Annotated

from spacy.cli._util import Arg, Opt
from wasabi import Printer

from ..corpus.files import DOCBIN_SUFFIX, check_corpus
from ..errors import Errors, MetricELError
from ._util import app, blank_pipeline, load_any_pipeline


@app.command("convert")
def convert_cli(
    inputs: Annotated[list[Path], Arg(help="PubTator files (.pubtator or .txt, plain or .gz)")],
    output: Annotated[Path, Arg(help="File to write (.spacy); replaced if it is there")],
    lang: Annotated[str, Opt("--lang", "-l", help="Language whose tokenizer is used")] = "en",
    model: Annotated[
        str | None,
        Opt(
            "--model",
            "-m",
            help="Pipeline whose tokenizer is used instead, by path or package name",
        ),
    ] = None,
) -> None:
    """
    Convert PubTator files to one .spacy file, and tell how the mentions came to lie
    on tokens. All mentions are in doc.spans["mentions"], with "|" between the concept
    ids of one; those that do not overlap are in doc.ents as well.

    \b
    EXAMPLES
    $ spacy metric-el convert train.pubtator train.spacy
    $ spacy metric-el convert a.pubtator b.pubtator.gz train.spacy --model ./pipeline
    """
    if output.suffix != DOCBIN_SUFFIX:
        raise MetricELError(Errors.E305.format(path=output, known=DOCBIN_SUFFIX))
    for path in inputs:
        check_corpus(path, docbin=False)
    from ..corpus.alignment import write_docbin

    nlp = blank_pipeline(lang) if model is None else load_any_pipeline(model)
    counts = write_docbin(nlp, inputs, output)
    msg = Printer()
    lines = {
        "Mentions": f"{counts.mentions:,}",
        "Expanded to whole tokens": f"{counts.expanded:,}",
        "Overlapping a longer one": f"{counts.overlapping:,}",
        "Dropped, without any token": f"{counts.dropped:,}",
        "Without a concept id": f"{counts.nil:,}",
    }
    msg.table(lines, aligns=("l", "r"))
    msg.good(f"Wrote {output}")
