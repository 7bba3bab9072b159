import pickle

import pytest
from spacy import registry

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.loader import KBFromDisk

from .vocabulary import make_kb


def test_the_registry_has_the_loader(tmp_path):
    make_kb().to_disk(tmp_path / "kb")
    build = registry.get("misc", "spacy_metric_el.FaissKnowledgeBase.v1")
    loader = build(path=str(tmp_path / "kb"))
    assert list(loader()) == list(loader("a vocab")) == ["C1", "C2", "C3", "C4", "C5"]
    assert list(pickle.loads(pickle.dumps(loader))()) == list(loader())


def test_a_config_resolves_to_the_loader(tmp_path):
    make_kb().to_disk(tmp_path / "kb")
    block = {"@misc": "spacy_metric_el.FaissKnowledgeBase.v1", "path": str(tmp_path / "kb")}
    assert len(registry.resolve({"kb": block})["kb"]()) == 5


def test_only_the_call_opens_the_folder(tmp_path):
    loader = KBFromDisk(tmp_path / "later")
    with pytest.raises(MetricELError) as error:
        loader()
    assert error.value.code == "E132"
    make_kb().to_disk(tmp_path / "later")
    assert "C1" in loader()
