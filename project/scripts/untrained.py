"""Save the pipeline that `spacy train` would start from, with its knowledge base encoded."""

from pathlib import Path
from typing import Annotated

import typer
from link_sentences import link_sentences
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from wasabi import msg


def main(
    config: Path,
    kb: Path,
    train: Path,
    dev: Path,
    output: Path,
    transformer: Annotated[str, typer.Option(help="What the config calls paths.transformer")] = "",
    sentences: Annotated[
        Path | None, typer.Option(help="Link these before anything is saved, and print a table")
    ] = None,
) -> None:
    """Initialize CONFIG with the knowledge base KB and the corpora TRAIN and DEV; save to OUTPUT."""
    overrides = {"paths.kb": str(kb), "paths.train": str(train), "paths.dev": str(dev)}
    if transformer:
        overrides["paths.transformer"] = transformer
    nlp = init_nlp(load_config(config, overrides=overrides))
    nlp.get_pipe("metric_entity_linker").load_kb(kb)
    if sentences is not None:
        link_sentences(nlp, sentences)
    output.parent.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(output)
    msg.good(f"Saved the untrained pipeline to {output}")


if __name__ == "__main__":
    typer.run(main)
