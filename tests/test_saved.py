"""Pipelines and knowledge bases that version 0.1 saved still load, and link as they did.

`saved/version_0_1` was made by that version's code and is never made again.
"""

import shutil
from pathlib import Path

import pytest
import spacy
import srsly

from spacy_metric_el.errors import MetricELWarning
from spacy_metric_el.kb import FaissKnowledgeBase

from .util import LINKER, make_nlp

SAVED = Path(__file__).parent / "saved" / "version_0_1"
EXPECTED = srsly.read_json(SAVED / "expected.json")
TEXTS = [
    "Report 99 is of cold and then of acute coryza",
    "Report 98 is of MI and then of mitral regurgitation",
    "He took acetylsalicylic acid",
    "A sudden fevers",
]


def found(nlp):
    return [[(ent.text, ent.kb_id_) for ent in nlp(text).ents] for text in TEXTS]


def expected(links):
    return [[(text, concept_id) for text, concept_id, _ in doc] for doc in links]


def test_a_pipeline_loads_and_links_as_before():
    assert found(spacy.load(SAVED / "ranked")) == expected(EXPECTED["ranked"])


def test_a_pipeline_with_rows_of_entities_does_without():
    with pytest.warns(MetricELWarning, match=r"^\[W007\] .*entity_rows"):
        nlp = spacy.load(SAVED / "entity_rows")
    assert nlp.get_pipe(LINKER).vectors is None
    assert found(nlp) == expected(EXPECTED["entity_rows"])


def test_what_was_learned_and_changed_is_there():
    linker = spacy.load(SAVED / "ranked").get_pipe(LINKER)
    assert linker.cfg["top_k"] == 5
    assert linker.loss.radius.step > 0


def test_probabilities_are_those_of_before():
    nlp = spacy.load(SAVED / "ranked")
    for text, ents in zip(TEXTS, EXPECTED["ranked"], strict=True):
        for ent, (_, _, candidates) in zip(nlp(text).ents, ents, strict=True):
            best_before = candidates[0][1]
            assert ent._.kb_ents[0][1] == pytest.approx(best_before, abs=0.02)


def test_a_knowledge_base_opens_with_its_vectors(tmp_path):
    path = tmp_path / "names.kb"
    shutil.copytree(SAVED / "names.kb", path)
    kb = FaissKnowledgeBase.from_disk(path)
    assert kb.lookup("the sniffles") == [("C03", 1.0)]
    shipped = {"name_context": False, "ngram_weight_rows": 1024, "ngram_vector_rows": 256}
    texts = [text for doc in EXPECTED["names.kb"]["links"] for text, _, _ in doc]
    nlp = make_nlp("own", entities=texts, model=shipped)
    nlp.get_pipe(LINKER).load_kb(path, nlp=nlp, reencode=False)
    assert found(nlp) == expected(EXPECTED["names.kb"]["links"])
