"""One training step: what the loss is made of, and what is left as it was."""

import pytest
import spacy
from thinc.api import Adam

from spacy_metric_el.settings import LinkerSettings
from spacy_metric_el.training.losses import PrototypeTriplet
from spacy_metric_el.training.step import TrainingStep, scaled_learn_rate

from ..util import LINKER, make_example, make_kb, make_nlp

TEXTS = [("a bad cold", "cold", "C03"), ("the cold of winter", "cold", "C04")]
TEXTS += [("severe MI", "MI", "C01"), ("MI by ultrasound", "MI", "C02")]


def losses(*, changes=None, batches=2):
    """RETURNS (list[float]): The loss of each of some batches, by the weights of a fresh linker."""
    spacy.util.fix_random_seed(0)
    nlp = make_nlp()
    nlp.initialize()
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(make_kb())
    step = TrainingStep(linker.encoder, PrototypeTriplet(), linker.kb, seed=0)
    found = []
    for i in range(batches):
        examples = [
            make_example(nlp, f"{text} {i}", (surface, cid)) for text, surface, cid in TEXTS
        ]
        found.append(step.gradients(examples, LinkerSettings(**(changes or {}))))
    return found


def test_the_contrast_with_the_memory_is_weighted_and_added():
    none, once, twice = (losses(changes={"memory_weight": weight}) for weight in (0.0, 1.0, 2.0))
    # At first there is no other document to compare with.
    assert none[0] > 0
    assert none[0] == once[0] == twice[0]
    assert once[1] > none[1]
    assert twice[1] - none[1] == pytest.approx(2 * (once[1] - none[1]), rel=1e-4)


def test_the_scale_of_the_contrast_counts():
    gentle, steep = (losses(changes={"memory_scale": scale}) for scale in (1.0, 16.0))
    assert gentle[0] == steep[0]
    assert gentle[1] != steep[1]


def test_mentions_that_teach_nothing_have_no_loss():
    assert losses(changes={"labels_discard": ["ENTITY"]}) == [0.0, 0.0]


def test_a_step_is_deterministic():
    assert losses() == losses()


def test_the_learn_rate_comes_back():
    sgd = Adam(0.01)
    with scaled_learn_rate(sgd, 20.0):
        assert sgd.learn_rate == pytest.approx(0.2)
    assert sgd.learn_rate == 0.01
    with pytest.raises(KeyError), scaled_learn_rate(sgd, 0.5):
        raise KeyError
    assert sgd.learn_rate == 0.01
