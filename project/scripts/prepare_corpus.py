"""Gather a corpus and its vocabulary in one folder, whatever form they come in."""

import gzip
import os
import shutil
from pathlib import Path

import srsly
import typer
from wasabi import msg

from spacy_metric_el.kb.importers import merge_entities, read_entities

MEDMENTIONS_SPLITS = {"train": "trng", "dev": "dev"}


def main(
    name: str,
    corpus_dir: str = typer.Option("", help="Folder with train.pubtator and dev.pubtator"),
    vocabulary: str = typer.Option("", help="Vocabularies, separated by blanks"),
) -> None:
    """Make corpus/NAME with train.pubtator, dev.pubtator and vocabulary.jsonl.

    Without options, assets/NAME is looked into. MedMentions may lie there as its
    authors publish it: one file of all documents, and lists of ids.
    """
    source = Path(corpus_dir or Path("assets") / name)
    target = Path("corpus") / name
    target.mkdir(parents=True, exist_ok=True)
    for split in ("train", "dev"):
        gather_split(source, split, target / f"{split}.pubtator")
    sources = [Path(path) for path in vocabulary.split()]
    if not sources:
        sources = sorted([*source.glob("*.obo"), *source.glob("*.jsonl")])
    if not sources:
        msg.fail(f"No vocabulary in {source}: give one with --vars.vocabulary", exits=1)
    gather_vocabulary(sources, target / "vocabulary.jsonl")
    msg.good(f"Gathered {target} from {source} and {', '.join(map(str, sources))}")


def gather_split(source: Path, split: str, target: Path) -> None:
    """Link a split's file, or cut it out of the published MedMentions."""
    plain, published = source / f"{split}.pubtator", source / "corpus_pubtator.txt.gz"
    if plain.is_file():
        link(plain, target)
        return
    ids = source / f"corpus_pubtator_pmids_{MEDMENTIONS_SPLITS[split]}.txt"
    if not (published.is_file() and ids.is_file()):
        msg.fail(
            f"{plain} is missing. Run `spacy project assets`, or give a folder with "
            "--vars.corpus_dir",
            exits=1,
        )
    wanted = set(ids.read_text(encoding="utf8").split())
    with gzip.open(published, "rt", encoding="utf8") as file:
        blocks = file.read().strip().split("\n\n")
    kept = [block for block in blocks if block.partition("|")[0].strip() in wanted]
    target.unlink(missing_ok=True)
    target.write_text("\n\n".join(kept) + "\n", encoding="utf8")


def gather_vocabulary(sources: list[Path], target: Path) -> None:
    """Link one JSONL, or merge several vocabularies into one."""
    for source in sources:
        if not source.is_file():
            msg.fail(f"There is no vocabulary {source}", exits=1)
    if len(sources) == 1 and sources[0].suffix == ".jsonl":
        link(sources[0], target)
        return
    entities = merge_entities(entity for source in sources for entity in read_entities(source))
    target.unlink(missing_ok=True)
    srsly.write_jsonl(target, (entity._asdict() for entity in entities))


def link(source: Path, target: Path) -> None:
    """Make `target` a link to `source`, or a copy where links are not to be had."""
    target.unlink(missing_ok=True)
    try:
        os.symlink(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    typer.run(main)
