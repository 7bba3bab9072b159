import io
import pickle

import pytest
import spacy
from spacy import registry
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from thinc.api import Config

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.training.callbacks import FitRanker

from ..util import CURATED, LINKER, VOCABULARY, make_doc, make_kb, make_nlp, write_pubtator


class FakePipeline:
    """Counts fits of the pipes asked for; a real one takes seconds to build."""

    def __init__(self):
        self.fitted = []

    def get_pipe(self, name):
        self.asked = name
        return self

    def fit_ranker(self, nlp):
        self.fitted.append((self.asked, nlp))


@pytest.mark.parametrize("every", [0, -5])
def test_bad_settings(every):
    with pytest.raises(MetricELError) as error:
        FitRanker(every)
    assert error.value.code == "E232"


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_the_ranker_is_fitted_every_so_many_steps(every, steps):
    found = []
    callback = FitRanker(every, "linker")
    for step in range(7):
        nlp = FakePipeline()
        callback(nlp, {"step": step, "epoch": 0})
        found += [(step, name) for name, _ in nlp.fitted]
        assert all(given is nlp for _, given in nlp.fitted)
    assert found == [(step, "linker") for step in steps]


def test_the_registry_has_the_callback():
    block = {"@callbacks": "spacy_metric_el.fit_ranker.v1", "every": 2}
    callback = registry.resolve({"before_update": block})["before_update"]
    callback = pickle.loads(pickle.dumps(callback))
    nlp = FakePipeline()
    for step in (1, 2):
        callback(nlp, {"step": step, "epoch": 1})
    assert nlp.fitted == [("metric_entity_linker", nlp)]


TRAINING = """
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
max_steps = 5
max_epochs = 0
eval_frequency = 2
patience = 0
accumulate_gradient = 1
[training.batcher]
@batchers = "spacy_metric_el.ClusterBatcher.v1"
size = 8
[training.before_update]
@callbacks = "spacy_metric_el.fit_ranker.v1"
every = 2
[training.logger]
@loggers = "spacy.ConsoleLogger.v1"
progress_bar = false
[initialize]
[initialize.components]
[initialize.components.metric_entity_linker]
[initialize.components.metric_entity_linker.kb_loader]
@misc = "spacy_metric_el.FaissKnowledgeBase.v1"
path = "{kb}"
"""


@pytest.mark.parametrize("kind", ["own", "listener", "transformer", CURATED])
def test_training_ends_with_a_ranker(tmp_path, kind, bert):
    """As `spacy train` does it: initialized, trained, evaluated and saved by a config."""
    write_pubtator(tmp_path / "corpus.pubtator")
    (tmp_path / "out").mkdir()
    make_kb(VOCABULARY).to_disk(tmp_path / "kb")
    text = TRAINING.format(corpus=tmp_path / "corpus.pubtator", kb=tmp_path / "kb")
    config = make_nlp(kind, bert=bert, prior_weight=0.0).config.merge(Config().from_str(text))
    out = io.StringIO()
    train(init_nlp(config), tmp_path / "out", stdout=out, stderr=io.StringIO())
    rows = [line.split() for line in out.getvalue().splitlines() if line.strip()[:1].isdigit()]
    # At step 0 there is no ranker; from step 2 on it keeps all namesakes apart.
    before, *after = [(int(row[1]), float(row[-1])) for row in rows]
    assert before[0] == 0
    assert before[1] < 1.0
    assert after == [(2, 1.0), (4, 1.0)]
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert nlp.get_pipe(LINKER).learned is not None
    text = "No. 5 is of MI and then of mitral regurgitation"
    doc = make_doc(nlp, text, ("MI", ""), ("mitral regurgitation", ""))
    (doc,) = nlp.pipe([doc])
    assert [ent.kb_id_ for ent in doc.ents] == ["C02", "C02"]
    assert all(sum(score for _, score in ent._.kb_ents) <= 1 + 1e-5 for ent in doc.ents)
