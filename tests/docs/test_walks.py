"""The walks of a mention and of a training batch are what the page on architecture says."""

import re
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from thinc.api import Adam

from spacy_metric_el.training.batcher import ClusterBatcher

from ..util import LINKER, make_example, make_kb, make_nlp

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "spacy_metric_el"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")


def hops_of(title):
    """RETURNS (list[str]): The functions that a walk names, in its order."""
    _, _, section = PAGE.partition(f"\n## {title}, hop by hop\n")
    section, _, _ = section.partition("\n## ")
    hops = re.findall(r"\*\*`([\w.]+)`\*\*", section)
    assert hops
    assert len(hops) == len(set(hops))
    return hops


def code_of(hop):
    """RETURNS (CodeType): Of a function or method of the package."""
    names = hop.split(".")
    size = next(
        i for i in range(len(names)) if PACKAGE.joinpath(*names[:i]).with_suffix(".py").is_file()
    )
    found = import_module(".".join(["spacy_metric_el", *names[:size]]))
    for name in names[size:]:
        found = getattr(found, name)
    # Context managers are wrapped.
    return getattr(found, "__wrapped__", found).__code__


@contextmanager
def first_calls(hops):
    """Note which of the functions are called, in the order of their first calls."""
    names = {code_of(hop): hop for hop in hops}
    called = {}

    def note(frame, event, argument):
        if event == "call" and frame.f_code in names:
            called.setdefault(names[frame.f_code])

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


def learned_pipeline():
    """RETURNS (tuple[Language, list[Example]]): A pipeline with a fitted ranker, and what it learned from."""
    nlp = make_nlp("listener", entities=["cold", "heart attack"])
    examples = [
        make_example(nlp, "A cold and a heart attack .", ("cold", "C03"), ("heart attack", "C01")),
        make_example(nlp, "The cold of a heart attack .", ("cold", "C04"), ("heart attack", "C01")),
    ]
    nlp.get_pipe(LINKER).set_kb(make_kb())
    nlp.initialize(lambda: examples)
    return nlp, examples


def test_walk_of_a_mention():
    nlp, examples = learned_pipeline()
    nlp.get_pipe(LINKER).fit_ranker(nlp, lambda: examples)
    hops = hops_of("A mention")
    with first_calls(hops) as called:
        nlp("A cold and a heart attack .")
    assert list(called) == hops


def test_walk_of_a_training_batch():
    nlp, examples = learned_pipeline()
    hops = hops_of("A training batch")
    with first_calls(hops) as called:
        for batch in ClusterBatcher()(examples):
            nlp.update(batch, sgd=Adam(0.001))
    # The batcher counts gold mentions as well.
    assert set(called) == set(hops)
    moved = ["corpus.gold.gold_mentions"]
    assert [x for x in called if x not in moved] == [x for x in hops if x not in moved]
