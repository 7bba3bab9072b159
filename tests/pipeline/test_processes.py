"""Several processes: forked after the parent has searched, and spawned."""

import os
import pickle
import subprocess
import sys

import pytest
import spacy

from ..util import CURATED, LINKER, has_kb, links, make_doc, make_kb, make_nlp

TEXTS = ["a heart attack", "nothing", "aspirin against a cold", "", "fever and MI"] * 4

FORK = """
import multiprocessing, sys
import spacy
from tests.util import links
from tests.pipeline.test_processes import TEXTS

def main():
    multiprocessing.set_start_method(sys.argv[2])
    nlp = spacy.load(sys.argv[1])
    expected = links(list(nlp.pipe(TEXTS)))
    assert sum(len(found) for found in expected) == 20, expected
    assert links(list(nlp.pipe(TEXTS, n_process=2, batch_size=4))) == expected
    print("same links")

if __name__ == "__main__":
    main()
"""


def make(kind="own", **settings):
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(kind, entities=["heart attack", "aspirin", "cold", "fever", "mi"], **settings)
    nlp.initialize()
    nlp.get_pipe(LINKER).set_kb(make_kb())
    nlp("some fever")
    return nlp


def run(tmp_path, nlp, method):
    nlp.to_disk(tmp_path / "nlp")
    script = tmp_path / "script.py"
    script.write_text(FORK, encoding="utf8")
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path / "nlp"), method],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["own", "listener", "transformer", CURATED])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_processes_give_the_links_of_one(tmp_path, kind, method, request):
    bert = request.getfixturevalue("bert") if kind in ("transformer", "curated") else None
    result = run(tmp_path, make(kind, bert=bert), method)
    assert result.stdout == "same links\n", result.stderr[-3000:]


@pytest.mark.parametrize("carried", [True, False])
def test_pickle(carried, kb_folder):
    nlp = make(carry_kb=carried)
    linker = nlp.get_pipe(LINKER)
    linker.load_kb(kb_folder)
    expected = links(nlp(TEXTS[0]))
    other = pickle.loads(pickle.dumps(nlp))
    assert links(other(TEXTS[0])) == expected
    copy = other.get_pipe(LINKER)
    assert copy.cfg == linker.cfg
    assert copy.name == linker.name
    assert copy.vectors.fingerprint == linker.fingerprint()


def test_settings_changed_before_pickling_are_saved_behind_it(kb_folder, tmp_path):
    nlp = make()
    nlp.get_pipe(LINKER).cfg.update(top_k=3, threshold=0.25)
    other = pickle.loads(pickle.dumps(nlp))
    other.to_disk(tmp_path / "nlp")
    settings = spacy.load(tmp_path / "nlp").get_pipe(LINKER).settings
    assert (settings.top_k, settings.threshold) == (3, 0.25)


def test_pickle_without_a_knowledge_base():
    nlp = make_nlp()
    nlp.initialize()
    assert not has_kb(pickle.loads(pickle.dumps(nlp)).get_pipe(LINKER))


def test_pickled_alone_and_put_into_a_pipeline():
    nlp = make()
    linker = pickle.loads(pickle.dumps(nlp.get_pipe(LINKER)))
    expected = nlp.get_pipe(LINKER)(make_doc(nlp, "a cold", ("cold", "")))
    other = spacy.blank("en")
    linker._upstream.set_pipeline(other)
    other._components.append((LINKER, linker))
    found = linker(make_doc(other, "a cold", ("cold", "")))
    assert links(found) == links(expected)


def test_forked_after_the_parent_has_searched(alarm):
    nlp = make()
    expected = links(list(nlp.pipe(TEXTS)))
    assert sum(len(found) for found in expected) == 20
    assert links(list(nlp.pipe(TEXTS, n_process=2, batch_size=4))) == expected
