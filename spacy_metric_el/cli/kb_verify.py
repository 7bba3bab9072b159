"""`kb verify`: whether a knowledge base is whole, and is that of a pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from spacy.cli._util import Arg, Opt
from wasabi import Printer

from ..errors import Errors, MetricELError
from ..geometry import row_cosines
from ._util import kb_app, load_pipeline

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase

SIMILAR = 0.98
"""Cosine of a vector made again and the stored one, at least: what quantisation leaves."""


@kb_app.command("verify")
def kb_verify_cli(
    path: Annotated[Path, Arg(help="Folder of the knowledge base")],
    model: Annotated[
        str | None,
        Opt(
            "--model", "-m", help="Pipeline whose encoder made the vectors: a sample is made again"
        ),
    ] = None,
    sample: Annotated[int, Opt("--sample", min=1, help="Names to encode again")] = 200,
) -> None:
    """
    Compare every file with its checksum, look whether names, concepts and rows fit
    together, and, with --model, encode a sample of the names again.

    \b
    EXAMPLES
    $ spacy metric-el kb verify umls.kb
    $ spacy metric-el kb verify umls.kb --model ./pipeline --sample 1000
    """
    from ..kb import FaissKnowledgeBase
    from ..kb.checks import check_kb

    FaissKnowledgeBase.verify(path)
    kb = FaissKnowledgeBase.from_disk(path)
    check_kb(kb)
    lowest = _encode_again(kb, path, model, sample) if model is not None else None
    msg = Printer()
    msg.good("All files have their checksums")
    msg.good(f"{len(kb):,} concepts and {kb.records.n_names:,} names fit together")
    if lowest is not None:
        msg.good(f"Names encoded again have cosines of {lowest:.3f} or more to the stored ones")


def _encode_again(kb: "FaissKnowledgeBase", path: Path, model: str, sample: int) -> float:
    """RETURNS (float): The lowest cosine. RAISES (MetricELError): E136, E308, E315."""
    # The linker holds its pipeline weakly, so both are kept.
    nlp, linker = load_pipeline(model)
    linker.load_kb(path, nlp=nlp, reencode=False, progress=False)
    vectors = kb.require_vectors()
    rows = np.sort(np.random.default_rng(0).permutation(vectors.n_rows)[:sample])
    names = kb.records.names["name"].take(vectors.names[rows]).to_pylist()
    found = row_cosines(linker.encode_names(names), vectors.decode(rows))
    worst = int(np.argmin(found))
    if found[worst] < SIMILAR:
        raise MetricELError(
            Errors.E315.format(path=path, name=names[worst], cosine=f"{found[worst]:.3f}")
        )
    return float(found[worst])
