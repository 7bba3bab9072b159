"""What is shipped, configs and commands that override one: each is complete, and trains."""

import io

import pytest
import spacy
from spacy.cli.debug_config import debug_config
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_metric_el.model.fingerprint import fingerprint

from ..util import LINKER, make_doc, write_jsonl, write_pubtator
from .commands import ROOT, training

CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.cfg"))}
COMMANDS = ["train-trf", "train-frozen"]
"""Each is `minilm.cfg` with other settings."""

PATHS = {"paths.train", "paths.dev", "paths.kb"}
SMALL = {
    "training.max_steps": 3,
    "training.eval_frequency": 2,
    "training.batcher.size": 16,
    f"components.{LINKER}.model.ngram_weight_rows": 2048,
    f"components.{LINKER}.model.ngram_vector_rows": 512,
}


@pytest.fixture
def arranged(tmp_path, kb_folder, bert):
    """RETURNS (Callable): From the name of a config or a command to the config, and to overrides: the command's, and those that make its training a small one."""
    corpus, vocabulary = tmp_path / "corpus.pubtator", tmp_path / "vocabulary.jsonl"
    write_pubtator(corpus)
    write_jsonl(vocabulary)

    def fill(name):
        path, given = (CONFIGS[name], {}) if name in CONFIGS else training(name)
        train_path = vocabulary if name == "synonyms" else corpus
        paths = {"train": train_path, "dev": corpus, "kb": kb_folder}
        if "transformer" in load_config(path)["paths"]:
            paths["transformer"] = bert
        return path, {**given, **SMALL, **{f"paths.{x}": str(y) for x, y in paths.items()}}

    return fill


def flat(config, prefix=""):
    """YIELDS (tuple[str, Any]): The dotted names of the values of a config, and the values."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def digests(nlp):
    """RETURNS (dict[str, str]): A digest of the weights of each component that has any."""
    models = {name: getattr(pipe, "model", None) for name, pipe in nlp.pipeline}
    return {name: fingerprint([model]) for name, model in models.items() if model is not None}


@pytest.mark.parametrize("name", [*CONFIGS, *COMMANDS])
def test_a_config_is_complete_and_trains(name, arranged, tmp_path):
    """After a few steps all that is to learn has changed, and nothing else."""
    path, overrides = arranged(name)
    debug_config(path, overrides=overrides)
    nlp = init_nlp(load_config(path, overrides))
    assert nlp.pipe_names[-1] == LINKER
    assert nlp.config["training"]["accumulate_gradient"] == 1
    # Averages would pass the weights of a transformer by.
    assert nlp.config["training"]["optimizer"]["use_averages"] is False
    has_ner = name == "ner-and-linker"
    before = digests(nlp)
    upstream = [] if name == "synonyms" else [nlp.pipe_names[0]]
    assert list(before) == [*upstream, *(["ner"] if has_ner else []), LINKER]
    (tmp_path / "out").mkdir()
    train(nlp, tmp_path / "out", stdout=io.StringIO(), stderr=io.StringIO())

    loaded = spacy.load(tmp_path / "out" / "model-last")
    after = digests(loaded)
    frozen = {"transformer"} if name == "train-frozen" else set()
    assert {pipe for pipe in before if after[pipe] == before[pipe]} == frozen
    assert (loaded.get_pipe(LINKER).learned is None) == (name == "synonyms")
    scores = loaded.meta["performance"]
    assert scores["el_acc"] > 0
    assert ("ents_f" in scores) == has_ner
    # Entities that are there stay; the recognizer has not learned any yet.
    doc = make_doc(loaded, "Report 5 is of acute coryza", ("acute coryza", ""))
    assert ("acute coryza", "C03") in [(ent.text, ent.kb_id_) for ent in loaded(doc).ents]


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (
            "train-trf",
            {
                "paths.transformer": "cambridgeltl/SapBERT-from-PubMedBERT-fulltext",
                "system.gpu_allocator": "pytorch",
                f"components.{LINKER}.learn_rate_factor": 50.0,
                "training.optimizer.learn_rate.initial_rate": 2e-5,
            },
        ),
        (
            "train-frozen",
            {
                f"components.{LINKER}.learn_rate_factor": 1.0,
                f"components.{LINKER}.names_per_entity": 4,
                f"components.{LINKER}.negatives_per_entity": 8,
                "training.frozen_components": ["transformer"],
                "training.batcher.size": 512,
                "training.max_steps": 400,
                "training.eval_frequency": 400,
                "training.optimizer.learn_rate.initial_rate": 0.002,
            },
        ),
    ],
)
def test_what_a_command_makes_of_the_config(command, changes):
    """All else, the paths of the corpus aside, is as `minilm.cfg` has it."""
    path, overrides = training(command)
    assert path == CONFIGS["minilm"]
    before, after = dict(flat(load_config(path))), dict(flat(load_config(path, overrides)))
    assert set(before) == set(after)
    found = {key: value for key, value in after.items() if value != before[key]}
    assert {key: value for key, value in found.items() if key not in PATHS} == changes


@pytest.mark.parametrize("name", CONFIGS)
def test_no_config_names_what_is_gone(name):
    config = load_config(CONFIGS[name])
    assert config["initialize"]["after_init"] is None
    callbacks = {value for key, value in flat(config) if key.endswith("@callbacks")}
    assert callbacks <= {"spacy_metric_el.fit_ranker.v1"}


@pytest.mark.parametrize("has_copy", [False, True], ids=["shared", "copied"])
def test_a_linker_on_the_transformer_of_a_trained_pipeline(arranged, tmp_path, has_copy):
    """`train-frozen` on another pipeline's transformer, whose recognizer keeps its findings:
    the transformer is frozen, or learns, and the recognizer has a copy of its own."""
    init_nlp(load_config(*arranged("ner-and-linker"))).to_disk(tmp_path / "old")
    config = load_config(*arranged("train-frozen"))
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
