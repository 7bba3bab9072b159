"""The configs that are shipped: spaCy finds them complete, and each trains."""

import io
from pathlib import Path

import pytest
import spacy
from spacy.cli.debug_config import debug_config
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_metric_el.model.fingerprint import fingerprint

from ..util import LINKER, make_doc, write_jsonl, write_pubtator

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "project" / "configs").glob("*.cfg"))
SMALL = {
    "training.max_steps": 3,
    "training.eval_frequency": 2,
    "training.batcher.size": 16,
    f"components.{LINKER}.model.ngram_weight_rows": 2048,
    f"components.{LINKER}.model.ngram_vector_rows": 512,
}


@pytest.fixture
def overrides(tmp_path, kb_folder, bert):
    """RETURNS (Callable): From a config's path to what makes its training a small one."""
    corpus, vocabulary = tmp_path / "corpus.pubtator", tmp_path / "vocabulary.jsonl"
    write_pubtator(corpus)
    write_jsonl(vocabulary)

    def fill(path):
        config = load_config(path)
        train_path = vocabulary if path.stem == "synonyms" else corpus
        paths = {"train": train_path, "dev": corpus, "kb": kb_folder}
        if "transformer" in config["paths"]:
            paths["transformer"] = bert
        filled = SMALL | {f"paths.{name}": str(value) for name, value in paths.items()}
        if config["initialize"]["after_init"] is not None:
            filled["initialize.after_init.steps"] = 2
        return filled

    return fill


def digests(nlp):
    """RETURNS (dict[str, str]): A digest of the weights of each component that has any."""
    models = {name: getattr(pipe, "model", None) for name, pipe in nlp.pipeline}
    return {name: fingerprint([model]) for name, model in models.items() if model is not None}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_complete_and_trains(path, overrides, tmp_path):
    """After a few steps all that is to learn has changed, and nothing else."""
    debug_config(path, overrides=overrides(path))
    nlp = init_nlp(load_config(path, overrides(path)))
    assert nlp.pipe_names[-1] == LINKER
    assert nlp.config["training"]["accumulate_gradient"] == 1
    has_ner = path.stem == "ner-and-linker"
    before = digests(nlp)
    assert list(before) == [nlp.pipe_names[0], *(["ner"] if has_ner else []), LINKER]
    (tmp_path / "out").mkdir()
    train(nlp, tmp_path / "out", stdout=io.StringIO(), stderr=io.StringIO())

    loaded = spacy.load(tmp_path / "out" / "model-last")
    after = digests(loaded)
    frozen = {"transformer"} if path.stem == "trf-frozen" else set()
    assert {name for name in before if after[name] == before[name]} == frozen
    assert (loaded.get_pipe(LINKER).learned is None) == (path.stem == "synonyms")
    scores = loaded.meta["performance"]
    assert scores["el_acc"] > 0
    assert ("ents_f" in scores) == has_ner
    # Entities that are there stay; the recognizer has not learned any yet.
    doc = make_doc(loaded, "Report 5 is of acute coryza", ("acute coryza", ""))
    assert ("acute coryza", "C03") in [(ent.text, ent.kb_id_) for ent in loaded(doc).ents]


@pytest.mark.parametrize("has_copy", [False, True], ids=["shared", "copied"])
def test_a_linker_on_the_transformer_of_a_trained_pipeline(overrides, tmp_path, has_copy):
    """`trf-frozen.cfg` on another pipeline's transformer, whose recognizer keeps its findings:
    the transformer is frozen, or learns, and the recognizer has a copy of its own."""
    shipped = {path.stem: path for path in CONFIGS}
    old = shipped["ner-and-linker"]
    init_nlp(load_config(old, overrides(old))).to_disk(tmp_path / "old")
    path = shipped["trf-frozen"]
    config = load_config(path, overrides(path))
    config["nlp"]["pipeline"].insert(1, "ner")
    for name in ("transformer", "ner"):
        config["components"][name] = {"source": str(tmp_path / "old")}
    config["training"]["frozen_components"].append("ner")
    if has_copy:
        config["components"]["ner"]["replace_listeners"] = ["model.tok2vec"]
        config["training"]["frozen_components"].remove("transformer")
    nlp = init_nlp(config)
    before = digests(nlp)
    (tmp_path / "out").mkdir()
    train(nlp, tmp_path / "out", stdout=io.StringIO(), stderr=io.StringIO())
    after = digests(spacy.load(tmp_path / "out" / "model-last"))
    unchanged = {name for name in before if after[name] == before[name]}
    assert unchanged == ({"ner"} if has_copy else {"transformer", "ner"})
