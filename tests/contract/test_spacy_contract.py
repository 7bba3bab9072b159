"""What spaCy asks of a plugin, and the traps around it that were met once."""

import configparser
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly
from spacy import util
from spacy.cli.evaluate import evaluate
from spacy.cli.init_config import init_config
from spacy.cli.package import get_third_party_dependencies
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc, DocBin, Span
from spacy.tokens.underscore import Underscore
from spacy.training import Example

import spacy_metric_el
from spacy_metric_el.encoding.upstream import find_listener
from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.model.fingerprint import fingerprint

from ..util import (
    LINKER,
    OWN_TOK2VEC,
    TRANSFORMER_LISTENER,
    VOCABULARY,
    encoder_config,
    links,
    make_doc,
    make_example,
    make_kb,
    make_nlp,
    ner_config,
)

ROOT = Path(__file__).parents[2]
HEAVY = ("faiss", "scispacy", "pyarrow", "transformers")


def run(*arguments, ok=True, timeout=200):
    """RETURNS (CompletedProcess): Of a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not ok or result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return result


@pytest.fixture
def nlp(kb_folder):
    nlp = make_nlp(entities=["heart attack", "cold", "xyzzy"])
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


# --- imports ---


def test_factory_module_imports_nothing_heavy():
    code = f"""
import sys
import spacy
before = {{name for name in {HEAVY!r} if name in sys.modules}}
import spacy_metric_el.pipeline.factory
added = {{name for name in {HEAVY!r} if name in sys.modules}} - before
assert not added, added
assert "spacy_metric_el.pipeline.linker" in sys.modules
# A blank pipeline loads every installed plugin's factories; transformers is spacy-transformers'.
spacy.blank("en")
assert "spacy_metric_el.pipeline.abbreviations" in sys.modules
added = {{name for name in {HEAVY[:3]!r} if name in sys.modules}} - before
assert not added, added
"""
    run("-c", code)


def test_the_linker_of_scispacy_is_never_imported():
    """It takes seconds and hundreds of MiB, brings nmslib, and downloads what it links to."""
    code = """
import importlib
import pkgutil
import sys
import spacy
import spacy_metric_el
for module in pkgutil.walk_packages(spacy_metric_el.__path__, "spacy_metric_el."):
    importlib.import_module(module.name)
detector = spacy.blank("xx").add_pipe("scispacy_abbreviation_detector")
assert "scispacy.linking_utils" in sys.modules and "scispacy.abbreviation" in sys.modules
heavy = {"scispacy.linking", "scispacy.candidate_generation", "scispacy.umls_linking", "nmslib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run("-c", code)


# --- registered names ---


def entry_points():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf8")
    for group, lines in parser["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("="))
            yield group, name, target


@pytest.mark.parametrize(("group", "name", "target"), list(entry_points()))
def test_registered_name_resolves(group, name, target):
    module, _, attribute = target.partition(":")
    expected = getattr(importlib.import_module(module), attribute)
    if group == "spacy_factories":
        assert Language.has_factory(name)
    elif group != "spacy_cli":
        registry = group.partition("_")[2]
        assert util.registry.get(registry, name) is expected


def test_every_registered_name_has_a_version():
    names = [name for group, name, _ in entry_points() if "@" not in name and "." in name]
    assert len(names) >= 8
    assert all(name.startswith("spacy_metric_el.") for name in names)
    assert all(name.rpartition(".v")[2].isdigit() for name in names)


# --- factory and config ---


def test_constructible_from_defaults():
    nlp = spacy.blank("en")
    linker = nlp.add_pipe("metric_entity_linker")
    assert linker.name == "metric_entity_linker"
    assert nlp.add_pipe("metric_entity_linker", name="second").name == "second"


def test_config_round_trip(tmp_path):
    nlp = make_nlp("listener", ner=True, threshold=0.4, nil="NONE", top_k=7)
    path = tmp_path / "config.cfg"
    nlp.config.to_disk(path)
    other = util.load_model_from_config(util.load_config(path), auto_fill=False)
    assert other.config.to_str() == nlp.config.to_str()
    assert other.get_pipe(LINKER).cfg == nlp.get_pipe(LINKER).cfg
    assert find_listener(other.get_pipe(LINKER).model.get_ref("tok2vec")) is not None


def test_settings_of_wrong_types_are_refused_by_the_config():
    with pytest.raises(ValueError, match="top_k"):
        make_nlp(top_k="many")
    with pytest.raises(ValueError, match="no_such_setting"):
        make_nlp(no_such_setting=1)


def test_analysis_finds_no_problem_behind_a_ruler():
    analysis = make_nlp(entities=["cold"]).analyze_pipes()
    assert not any(analysis["problems"].values())
    assert analysis["summary"][LINKER]["assigns"] == ["token.ent_kb_id", "span._.kb_ents"]
    assert "doc.ents" in make_nlp().analyze_pipes()["problems"][LINKER]


def test_listener_stands_where_replace_listeners_looks():
    nlp = make_nlp("listener")
    model = nlp.get_pipe(LINKER).model
    assert nlp.config["components"][LINKER]["model"]["tok2vec"]["@architectures"].startswith(
        "spacy.Tok2VecListener"
    )
    listener = find_listener(model.get_ref("tok2vec"))
    assert [node for node in model.walk() if node.name == listener.name] == [listener]
    assert nlp.get_pipe("tok2vec").listener_map == {LINKER: [listener]}


def test_default_score_weights_are_scores_of_the_scorer():
    nlp = make_nlp()
    weights = Language.get_factory_meta(LINKER).default_score_weights
    scores = nlp.get_pipe(LINKER).scorer([])
    assert set(weights) <= set(scores)
    assert sum(weight for weight in weights.values() if weight) == 1.0


# --- annotations ---


def test_links_last_in_the_document(nlp):
    """`doc.ents` are made anew each time; only the tokens' ids last."""
    doc = nlp("a heart attack")
    assert doc.ents[0].kb_id_ == doc[1].ent_kb_id_ == doc[2].ent_kb_id_ == "C01"
    doc.ents = list(doc.ents)
    assert doc.ents[0].kb_id_ == "C01"
    assert doc.ents[0].as_doc().ents[0].kb_id_ == "C01"
    doc.ents[0].kb_id_ = "C02"
    assert doc.ents[0].kb_id_ == "C01"


def test_json_drops_links_but_takes_candidates(nlp):
    """`Doc.to_json` writes no ids of entities; candidates are written for who asks for them."""
    doc = nlp("a heart attack and a cold")
    assert [set(ent) for ent in doc.to_json()["ents"]] == [{"start", "end", "label"}] * 2
    assert [ent.kb_id_ for ent in Doc(nlp.vocab).from_json(doc.to_json()).ents] == ["", ""]
    written = srsly.json_loads(srsly.json_dumps(doc.to_json(underscore=["kb_ents"])))
    loaded = Doc(nlp.vocab).from_json(written)
    for ent, kept in zip(doc.ents, loaded.ents, strict=True):
        ids, scores = zip(*kept._.kb_ents, strict=True)
        assert ids == tuple(cid for cid, _ in ent._.kb_ents)
        # JSON has fewer digits.
        assert scores == pytest.approx([score for _, score in ent._.kb_ents], abs=1e-9)
        assert ids[0] == ent.kb_id_


@pytest.mark.parametrize("by", ["DocBin", "bytes"])
def test_round_trip_keeps_links_and_candidates_for_the_scorer(nlp, by):
    doc = nlp("a heart attack and a cold")
    if by == "DocBin":
        packed = DocBin(docs=[doc], store_user_data=True).to_bytes()
        (loaded,) = DocBin().from_bytes(packed).get_docs(nlp.vocab)
    else:
        loaded = Doc(nlp.vocab).from_bytes(doc.to_bytes())
        # Tuples come back as lists.
        assert type(loaded.ents[0]._.kb_ents[0]) is list
    assert [ent.kb_id_ for ent in loaded.ents] == [ent.kb_id_ for ent in doc.ents]
    assert [tuple(pair) for pair in loaded.ents[0]._.kb_ents] == doc.ents[0]._.kb_ents
    gold = make_doc(nlp, doc.text, ("heart attack", "C01"), ("cold", "C08"))
    scorer = nlp.get_pipe(LINKER).scorer
    assert scorer([Example(loaded, gold)]) == scorer([Example(doc, gold)])
    assert scorer([Example(loaded, gold)])["el_recall_at_64"] == 1.0


def test_unlinked_gold_is_no_true_positive(nlp):
    """`Scorer.score_links` counts gold '' with prediction '' as a hit, unless '' is negative."""
    gold = make_doc(nlp, "a cold", ("cold", ""))
    example = Example(make_doc(nlp, "a cold", ("cold", "")), gold)
    assert Scorer.score_links([example], negative_labels=["NIL"])["nel_micro_f"] == 1.0
    linker = nlp.get_pipe(LINKER)
    linker.cfg["use_gold_ents"] = False
    assert linker.score([example])["nel_micro_f"] == 0.0


def test_extension_is_left_to_who_came_first(monkeypatch):
    monkeypatch.setattr(Underscore, "span_extensions", {})
    Span.set_extension("kb_ents", default="theirs")
    make_nlp()
    assert Span.get_extension("kb_ents")[0] == "theirs"
    monkeypatch.setattr(Underscore, "span_extensions", {})
    make_nlp()
    make_nlp()
    assert Span.get_extension("kb_ents")[0] == []


def test_default_candidates_are_not_shared():
    make_nlp()
    nlp = spacy.blank("en")
    first, second = nlp("a b"), nlp("a b")
    first[:1]._.kb_ents.append(("C1", 1.0))
    assert second[:1]._.kb_ents == first[1:]._.kb_ents == []


# --- what a pipeline does with its components ---


def test_select_pipes(nlp):
    with nlp.select_pipes(disable=LINKER):
        assert nlp("a cold").ents[0].kb_id_ == ""
    with nlp.select_pipes(enable=[LINKER]):
        assert nlp("a cold").ents == ()
    assert nlp("a cold").ents[0].kb_id_ in ("C03", "C04")


def test_rename(nlp):
    nlp.rename_pipe(LINKER, "el")
    assert nlp("a cold").ents[0].kb_id_ in ("C03", "C04")
    nlp.get_pipe("el").fingerprint()


def test_two_linkers_in_one_pipeline(nlp, kb_folder):
    other = nlp.add_pipe(
        LINKER,
        name="second",
        config={"model": encoder_config(OWN_TOK2VEC), "overwrite": False, "seed": 3},
    )
    other.set_kb(make_kb(VOCABULARY[4:]))
    assert nlp("a heart attack").ents[0].kb_id_ == "C01"
    losses = {}
    nlp.update([make_example(nlp, "a cold", ("cold", "C03"))], losses=losses)
    assert {LINKER, "second"} <= set(losses)


def test_examples_are_checked(nlp):
    for method in ("update", "score"):
        with pytest.raises(TypeError):
            getattr(nlp.get_pipe(LINKER), method)([nlp("a cold")])


def test_all_documents_go_to_the_listener_in_order(monkeypatch):
    """The listener compares the token ids of all documents with what the upstream saw."""
    nlp = make_nlp("listener")
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb())
    texts = ["nothing", "", "a cold", "more nothing"]
    examples = [
        make_example(nlp, text, *([("cold", "C03")] if "cold" in text else [])) for text in texts
    ]
    listener = find_listener(nlp.get_pipe(LINKER).model.get_ref("tok2vec"))
    asked, verify = [], type(listener).verify_inputs
    monkeypatch.setattr(
        type(listener), "verify_inputs", lambda self, docs: asked.append(docs) or verify(self, docs)
    )
    nlp.update(examples, sgd=nlp.create_optimizer())
    assert [[doc.text for doc in docs] for docs in asked] == [texts]


def test_listener_lets_go_of_its_batch_after_an_update():
    """A kept batch could not be pickled, and would be asked for once the upstream is frozen."""
    nlp = make_nlp("listener")
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    example = make_example(nlp, "a cold", ("cold", "C03"))
    nlp.update([example], sgd=nlp.create_optimizer())
    copy = pickle.loads(pickle.dumps(linker))
    assert copy.model.to_bytes() == linker.model.to_bytes()


@pytest.mark.parametrize("first", ["ner", LINKER])
def test_transformer_listeners_in_any_order(bert, first):
    """A listener that is not the last has no gradient to return, and must not need one."""
    nlp = make_nlp("transformer", bert=bert, ner=True)
    if first == LINKER:
        nlp.remove_pipe("ner")
        nlp.add_pipe("ner", config=ner_config(TRANSFORMER_LISTENER))
    assert next(name for name in nlp.pipe_names if name != "transformer") == first
    example = make_example(nlp, "a cold and fever", ("cold", "C03"), ("fever", "C08"))
    nlp.initialize(lambda: [example])
    nlp.get_pipe(LINKER).set_kb(make_kb())
    losses = {}
    nlp.update([example], sgd=nlp.create_optimizer(), losses=losses)
    assert {"transformer", "ner", LINKER} == set(losses)


def test_averages_for_pipelines_without_pytorch(nlp):
    """`use_params` swaps the weights for a moment; the vectors follow, and come back."""
    optimizer = nlp.create_optimizer()
    optimizer.averages = {}
    linker = nlp.get_pipe(LINKER)
    example = make_example(nlp, "a chill", ("chill", "C03"))
    for _ in range(2):
        nlp.update([example], sgd=optimizer, losses={})
    expected = links(nlp("a cold"))
    with nlp.use_params(optimizer.averages):
        averaged = linker.fingerprint()
        nlp("a cold")
        assert linker.vectors.fingerprint == averaged
    assert linker.fingerprint() != averaged
    assert links(nlp("a cold")) == expected


def test_averages_pass_the_weights_of_pytorch_by(bert):
    """`use_params` swaps no weights of PyTorch, so that averages are of the other layers alone."""
    nlp = make_nlp("transformer", bert=bert)
    example = make_example(nlp, "a chill", ("chill", "C03"))
    nlp.initialize(lambda: [example])
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    optimizer = nlp.create_optimizer()
    optimizer.averages = {}
    for _ in range(2):
        nlp.update([example], sgd=optimizer, losses={})
    transformer, head = nlp.get_pipe("transformer").model, linker.model.get_ref("head")
    before = fingerprint([transformer]), fingerprint([head])
    with nlp.use_params(optimizer.averages):
        during = fingerprint([transformer]), fingerprint([head])
    assert during[0] == before[0]
    assert during[1] != before[1]


def test_spacy_ner_before_the_linker():
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", config=ner_config(OWN_TOK2VEC)).add_label("ENTITY")
    nlp.add_pipe(LINKER, config={"model": encoder_config(OWN_TOK2VEC)})
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb())
    doc = nlp("a cold")
    assert all(ent.kb_id_ for ent in doc.ents)
    assert not any(analysis for analysis in nlp.analyze_pipes()["problems"].values())


def test_memory_zone(nlp):
    with nlp.memory_zone():
        assert [ent.kb_id_ for ent in nlp("a heart attack").ents] == ["C01"]
    assert [ent.kb_id_ for ent in nlp("a heart attack").ents] == ["C01"]


def test_documents_with_context(nlp):
    ((doc, context),) = nlp.pipe([("a heart attack", {"id": 7})], as_tuples=True)
    assert (doc.ents[0].kb_id_, context) == ("C01", {"id": 7})


def test_no_sentence_boundaries_are_needed(nlp):
    example = make_example(nlp, "a cold", ("cold", "C03"))
    assert not any(doc.has_annotation("SENT_START") for doc in (example.x, example.y))
    losses = {}
    nlp.update([example], sgd=nlp.create_optimizer(), losses=losses)
    assert losses[LINKER] > 0
    doc = nlp("a heart attack")
    assert not doc.has_annotation("SENT_START")
    assert doc.ents[0].kb_id_ == "C01"


def test_an_entity_may_cross_a_sentence_boundary(nlp):
    doc = make_doc(nlp, "a heart attack", ("heart attack", ""))
    whole = links(nlp.get_pipe(LINKER)(doc.copy()))
    for token in doc:
        token.is_sent_start = token.text == "attack"
    assert links(nlp.get_pipe(LINKER)(doc)) == whole
    assert doc.ents[0].kb_id_ == "C01"


def test_document_made_by_hand(nlp):
    doc = Doc(nlp.vocab, words=["a", "cold"], ents=["O", "B-X"])
    assert nlp.get_pipe(LINKER)(doc).ents[0].kb_id_ in ("C03", "C04")


# --- spaCy's command line ---


def test_a_packaged_pipeline_requires_the_plugin():
    """`spacy package` finds the distribution of each registered function by its entry point."""
    nlp = make_nlp("listener", ner=True)
    requirements = get_third_party_dependencies(nlp.config)
    major, minor, _ = spacy_metric_el.__version__.split(".")
    expected = f"spacy-metric-el>={spacy_metric_el.__version__},<{major}.{int(minor) + 1}.0"
    assert requirements == [expected]


def test_scores_of_spacys_evaluation(nlp, tmp_path, capsys):
    """`spacy benchmark accuracy` prints nothing about linking, but its file has the scores."""
    gold = [make_doc(nlp, "a heart attack", ("heart attack", "C01"))]
    DocBin(docs=gold, store_user_data=True).to_disk(tmp_path / "dev.spacy")
    nlp.to_disk(tmp_path / "model")
    scores = evaluate(tmp_path / "model", tmp_path / "dev.spacy", silent=False)
    assert scores["el_acc"] == scores["nel_micro_f"] == 1.0
    shown = capsys.readouterr().out
    assert "TOK" in shown
    assert "EL_ACC" not in shown.upper()


def test_gradients_are_accumulated_by_spacys_config_for_a_gpu():
    """The linker warns of that (W001); the configs of the project set 1."""
    config = init_config(lang="en", pipeline=["ner", LINKER], optimize="efficiency", gpu=True)
    assert config["training"]["accumulate_gradient"] == 3


@pytest.mark.slow
def test_package_writes_the_requirement(nlp, tmp_path):
    nlp.meta["name"] = "linking"
    nlp.to_disk(tmp_path / "model")
    output = tmp_path / "packages"
    output.mkdir()
    run("-m", "spacy", "package", tmp_path / "model", output, "--build", "none")
    (meta,) = output.glob("*/meta.json")
    requirements = srsly.read_json(meta)["requirements"]
    assert sum(line.startswith("spacy-metric-el>=") for line in requirements) == 1


@pytest.mark.slow
def test_init_config_fill_config_and_debug_config(tmp_path):
    path, filled = tmp_path / "config.cfg", tmp_path / "filled.cfg"
    run("-m", "spacy", "init", "config", path, "-p", "ner,metric_entity_linker", "--force")
    config = util.load_config(path)
    assert "metric_entity_linker" in config["nlp"]["pipeline"]
    run("-m", "spacy", "init", "fill-config", path, filled)
    assert util.load_config(filled)["components"][LINKER]["top_k"] == 10
    overrides = ["--paths.train", tmp_path, "--paths.dev", tmp_path]
    run("-m", "spacy", "debug", "config", filled, *overrides)


TRAIN_CONFIG = """
[nlp]
lang = "en"
pipeline = ["tok2vec", "metric_entity_linker"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 16
depth = 1
embed_size = 300
window_size = 1
maxout_pieces = 2
subword_features = true

[components.metric_entity_linker]
factory = "metric_entity_linker"

[components.metric_entity_linker.model]
@architectures = "spacy_metric_el.MetricEncoder.v1"
context_width = 16
surface_width = 32
ngram_weight_rows = 2048
ngram_vector_rows = 512

[components.metric_entity_linker.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16
upstream = "tok2vec"

[corpora]

[corpora.train]
@readers = "spacy_metric_el.PubTatorCorpus.v1"
path = "{corpus}"

[corpora.dev]
@readers = "spacy_metric_el.PubTatorCorpus.v1"
path = "{corpus}"

[training]
train_corpus = "corpora.train"
dev_corpus = "corpora.dev"
max_steps = 6
max_epochs = 0
eval_frequency = 3
patience = 0
accumulate_gradient = 1

[training.batcher]
@batchers = "spacy_metric_el.ClusterBatcher.v1"
size = 4

[initialize]

[initialize.components]

[initialize.components.metric_entity_linker]

[initialize.components.metric_entity_linker.kb_loader]
@misc = "spacy_metric_el.FaissKnowledgeBase.v1"
path = "{kb}"
"""

PUBTATOR = """1|t|Heart attack after a cold.
1|a|Aspirin was given.
1\t0\t12\tHeart attack\tDisease\tC01
1\t21\t25\tcold\tDisease\tC03
1\t27\t34\tAspirin\tChemical\tC05

2|t|A chill and cephalgia.
2|a|No aspirin.
2\t2\t7\tchill\tDisease\tC03
2\t12\t21\tcephalgia\tDisease\tC07
2\t26\t33\taspirin\tChemical\tC05

3|t|Nothing to see.
3|a|Nothing at all.
"""


@pytest.mark.slow
def test_train_end_to_end_without_code(tmp_path, kb_folder):
    corpus, config = tmp_path / "corpus.pubtator", tmp_path / "config.cfg"
    corpus.write_text(PUBTATOR, encoding="utf8")
    config.write_text(TRAIN_CONFIG.format(corpus=corpus, kb=kb_folder), encoding="utf8")
    filled, output = tmp_path / "filled.cfg", tmp_path / "model"
    run("-m", "spacy", "init", "fill-config", config, filled)
    result = run("-m", "spacy", "train", filled, "--output", output)
    assert "EL_ACC" in result.stdout
    performance = srsly.read_json(output / "model-best" / "meta.json")["performance"]
    assert performance["el_acc"] > 0.5
    assert "metric_entity_linker_loss" in performance
    nlp = spacy.load(output / "model-last")
    linker = nlp.get_pipe(LINKER)
    assert isinstance(linker.kb, FaissKnowledgeBase)
    ruler = nlp.add_pipe("entity_ruler", before=LINKER)
    ruler.add_patterns([{"label": "DISEASE", "pattern": "heart attack"}])
    assert nlp("a heart attack").ents[0].kb_id_ == "C01"
