"""Rows that stand for training mentions."""

import numpy as np
import pytest

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb.ranking import PROTOTYPE_ROW
from spacy_metric_el.pipeline.prototypes import add_prototypes, make_prototypes

from ..util import LINKER, make_example, make_nlp


@pytest.fixture(params=["own", "listener"])
def nlp(request, kb_folder):
    nlp = make_nlp(request.param)
    if request.param == "listener":
        nlp.initialize()
    nlp.get_pipe(LINKER).load_kb(kb_folder)
    return nlp


def examples(nlp):
    return [
        make_example(nlp, "A zorblax at night", ("zorblax", "C07")),
        make_example(nlp, "Her zorblax and quimpy", ("zorblax", "C07"), ("quimpy", "C05|C08")),
        make_example(nlp, "nothing to see"),
        make_example(nlp, "A vudge, unlinked", ("vudge", "NIL")),
        make_example(nlp, "A blurf, unknown", ("blurf", "C99")),
    ]


def test_prototypes_are_found_by_their_mentions(nlp):
    linker = nlp.get_pipe(LINKER)
    n_rows = linker.kb.vectors.n_rows
    assert add_prototypes(nlp, linker, iter(examples(nlp)), radius=2.0) == 3
    vectors = linker.kb.vectors
    assert vectors.counts()["prototype"] == 3
    assert list(vectors.kinds[n_rows:]) == [PROTOTYPE_ROW] * 3
    ids = [linker.kb.records.concept_id(ref) for ref in vectors.refs[n_rows:]]
    assert ids == ["C05", "C07", "C08"]
    rows = vectors.index.reconstruct_n(n_rows, 3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    (found,) = linker.kb.candidates(linker.encode_names(["zorblax"]), top_k=1)
    assert found[0][0] == "C07"


def test_small_clusters_make_more_rows(nlp):
    linker = nlp.get_pipe(LINKER)
    eg = [
        make_example(nlp, f"the {name} of today", (name, "C07"))
        for name in ("zorblax", "quimpy", "vudge", "zorblax")
    ]
    assert add_prototypes(nlp, linker, eg, radius=0.01, max_per_entity=8) == 3
    assert add_prototypes(nlp, linker, eg, radius=0.01, max_per_entity=2) == 2
    assert linker.kb.vectors.counts()["prototype"] == 5


def test_prototypes_are_kept_in_the_folder(nlp, kb_folder):
    from spacy_metric_el.kb import FaissKnowledgeBase

    linker = nlp.get_pipe(LINKER)
    added = add_prototypes(nlp, linker, examples(nlp))
    linker.kb.to_disk(kb_folder)
    assert FaissKnowledgeBase.from_disk(kb_folder).vectors.counts()["prototype"] == added


def test_nothing_to_learn_from_adds_nothing(nlp):
    linker = nlp.get_pipe(LINKER)
    before = linker.kb.vectors
    assert add_prototypes(nlp, linker, [make_example(nlp, "nothing")]) == 0
    assert linker.kb.vectors is before


@pytest.mark.parametrize("settings", [{"radius": -0.1}, {"max_per_entity": 0}])
def test_settings_out_of_range(nlp, settings):
    with pytest.raises(MetricELError) as error:
        add_prototypes(nlp, nlp.get_pipe(LINKER), [], **settings)
    assert error.value.code == "E311"


def test_opposite_mentions_have_no_prototype():
    vectors = np.asarray([[1, 0], [-1, 0], [0, 1]], dtype=np.float32)
    rows, refs = make_prototypes(vectors, np.asarray([4, 4, 2]), radius=2.0, max_per_entity=1)
    np.testing.assert_array_equal(rows, [[0, 1]])
    np.testing.assert_array_equal(refs, [2])
