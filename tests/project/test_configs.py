"""The configs that are shipped: a pipeline can be made of each, and its blocks resolve."""

from pathlib import Path

import pytest
from spacy.schemas import ConfigSchemaInit, ConfigSchemaTraining
from spacy.util import load_config, load_model_from_config, registry

from ..util import LINKER

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "project" / "configs").glob("*.cfg"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_makes_a_pipeline(path, bert):
    paths = {"train": "train.pubtator", "dev": "dev.pubtator", "kb": "my.kb"}
    overrides = {f"paths.{name}": value for name, value in paths.items()}
    if "transformer" in load_config(path)["paths"]:
        overrides["paths.transformer"] = str(bert)
    config = load_config(path, overrides, interpolate=True)
    nlp = load_model_from_config(config, auto_fill=True)
    assert nlp.pipe_names[-1] == LINKER
    training = registry.resolve(nlp.config.interpolate()["training"], schema=ConfigSchemaTraining)
    assert training["accumulate_gradient"] == 1
    registry.resolve(nlp.config.interpolate()["initialize"], schema=ConfigSchemaInit)
