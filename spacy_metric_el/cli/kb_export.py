"""`kb export`: a knowledge base to scispaCy's JSONL."""

from pathlib import Path
from typing import Annotated

import srsly
from spacy.cli._util import Arg
from tqdm import tqdm
from wasabi import Printer

from ._util import kb_app, shows_progress


@kb_app.command("export")
def kb_export_cli(
    path: Annotated[Path, Arg(help="Folder of the knowledge base")],
    output: Annotated[Path, Arg(help="File to write; gzipped if its name ends in .gz")],
) -> None:
    """
    Write the concepts of a knowledge base as JSONL in scispaCy's form, one a line. How
    often training mentions used a name is not part of that form.

    \b
    EXAMPLES
    $ spacy metric-el kb export umls.kb umls.jsonl
    $ spacy metric-el kb export umls.kb umls.jsonl.gz
    """
    from ..files import replaced_file
    from ..kb import FaissKnowledgeBase

    kb = FaissKnowledgeBase.from_disk(path)
    quiet = not shows_progress()
    entities = tqdm(kb.entities(), "Writing", len(kb), unit=" concepts", disable=quiet)
    write = srsly.write_gzip_jsonl if output.suffix == ".gz" else srsly.write_jsonl
    with replaced_file(output) as fresh:
        write(fresh, (entity._asdict() for entity in entities))
    Printer().good(f"Wrote {len(kb):,} concepts to {output}")
