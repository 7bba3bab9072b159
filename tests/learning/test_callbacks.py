import pickle

import pytest
from spacy import registry

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.learning.callbacks import RefreshMiningIndex


class FakePipeline:
    """Counts refreshes of the pipes asked for; a real one takes seconds to build."""

    def __init__(self):
        self.refreshed = []

    def get_pipe(self, name):
        self.asked = name
        return self

    def refresh_mining_index(self):
        self.refreshed.append(self.asked)


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_the_index_is_refreshed_every_so_many_steps(every, steps):
    found = []
    callback = RefreshMiningIndex(every, "linker")
    for step in range(7):
        nlp = FakePipeline()
        callback(nlp, {"step": step, "epoch": 0})
        found += [(step, name) for name in nlp.refreshed]
    assert found == [(step, "linker") for step in steps]


@pytest.mark.parametrize("every", [0, -5])
def test_bad_settings(every):
    with pytest.raises(MetricELError) as error:
        RefreshMiningIndex(every)
    assert error.value.code == "E232"


def test_the_registry_has_the_callback():
    block = {"@callbacks": "spacy_metric_el.refresh_mining_index.v1", "every": 2}
    callback = registry.resolve({"before_update": block})["before_update"]
    callback = pickle.loads(pickle.dumps(callback))
    nlp = FakePipeline()
    callback(nlp, {"step": 2, "epoch": 1})
    assert nlp.refreshed == ["metric_entity_linker"]
