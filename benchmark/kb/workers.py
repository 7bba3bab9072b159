"""Memory of worker processes that link with one knowledge base."""

import random
import tempfile
from pathlib import Path
from typing import Any

from spacy_metric_el.kb import FaissKnowledgeBase

from .measure import in_own_process
from .pipeline import plain_pipeline

FEW = 1_000


def measure_workers(
    kb: FaissKnowledgeBase, n_process: int, *, n_mentions: int, seed: int = 0
) -> dict[str, Any]:
    """Measure what a knowledge base adds to a process, and to it and its workers.

    kb (FaissKnowledgeBase): The vocabulary.
    n_process (int): Worker processes.
    n_mentions (int): Mentions that are linked: names of the vocabulary.
    seed (int): Draws the names.
    RETURNS (dict[str, Any]): MiB, as proportional set sizes, in which a page that several
        processes share counts once; those of a knowledge base of a few names are subtracted.
    """
    names = kb.records.name_texts()
    random.Random(seed).shuffle(names)
    with tempfile.TemporaryDirectory(prefix="bench-kb-") as folder:
        work = Path(folder)
        (work / "names.txt").write_text("\n".join(names[:n_mentions]), encoding="utf8")
        entities = list(kb.entities())
        found = {}
        for size, taken in (("few", entities[:FEW]), ("all", entities)):
            FaissKnowledgeBase.from_entities(taken).to_disk(work / size)
            nlp, linker = plain_pipeline()
            linker.load_kb(work / size, nlp=nlp, progress=False)
            found[size] = in_own_process("share", work / size, work / "names.txt", n_process)
    added = {key: found["all"][key] - found["few"][key] for key in found["all"]}
    return {
        "names": kb.records.n_names,
        "workers": n_process,
        "one_mib": added["alone_mib"],
        "all_mib": added["together_mib"],
        "few_names": found["few"],
        "all_names": found["all"],
    }
