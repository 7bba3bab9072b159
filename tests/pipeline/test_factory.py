"""What a config may say of the linker, and what it may leave out."""

import warnings

import pytest
import spacy
from spacy.language import Language
from thinc.api import Config
from thinc.config import ConfigValidationError

from spacy_metric_el.errors import MetricELError, MetricELWarning
from spacy_metric_el.pipeline.factory import make_metric_entity_linker
from spacy_metric_el.pipeline.linker import MetricEntityLinker
from spacy_metric_el.settings import RETIRED, LinkerSettings
from spacy_metric_el.training.losses import PrototypeTriplet

from ..util import LINKER, OWN_TOK2VEC, encoder_config, make_nlp


def test_the_default_config_makes_the_linker():
    nlp = spacy.blank("xx")
    linker = nlp.add_pipe(LINKER)
    assert type(linker) is MetricEntityLinker
    assert linker.settings == LinkerSettings()
    assert type(linker.loss) is PrototypeTriplet
    assert linker.model.name == "metric_encoder"
    assert linker.scorer is not None
    assert linker.name == LINKER


def test_the_default_config_is_the_settings_and_three_blocks():
    meta = Language.get_factory_meta(LINKER)
    blocks = {"model", "loss", "scorer"}
    assert {
        k: v for k, v in meta.default_config.items() if k not in blocks
    } == LinkerSettings().model_dump()
    assert blocks <= set(meta.default_config)
    assert not set(RETIRED) & set(meta.default_config)


def test_a_filled_config_names_all_settings():
    nlp = make_nlp(top_k=3)
    filled = Config().from_str(nlp.config.to_str())["components"][LINKER]
    assert filled["top_k"] == 3
    assert set(LinkerSettings().model_dump()) <= set(filled)
    # spaCy adds what the signature has; it asks for nothing.
    assert {key: filled[key] for key in RETIRED} == RETIRED


def add(**settings):
    """RETURNS (MetricEntityLinker): By a config with settings."""
    return make_nlp(**settings).get_pipe(LINKER)


@pytest.mark.parametrize(("setting", "neutral"), list(RETIRED.items()))
def test_a_retired_setting_is_warned_of_where_it_asked_for_something(setting, neutral):
    with pytest.warns(MetricELWarning, match=rf"^\[W007\] .*{setting}"):
        linker = add(**{setting: not neutral})
    assert linker.settings == LinkerSettings()
    assert setting not in linker.cfg


@pytest.mark.parametrize(("setting", "neutral"), list(RETIRED.items()))
def test_a_retired_setting_that_changes_nothing_may_stay(setting, neutral):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert add(**{setting: neutral}).settings == LinkerSettings()


@pytest.mark.parametrize(
    ("setting", "value"), [("no_such_setting", 1), ("top_k", "many"), ("nil", None)]
)
def test_spacy_refuses_what_the_signature_does_not_have(setting, value):
    with pytest.raises(ConfigValidationError, match=setting):
        make_nlp(**{setting: value})


def test_a_setting_out_of_range_is_named_with_the_component():
    config = {"model": encoder_config(OWN_TOK2VEC), "top_k": 0}
    with pytest.raises(MetricELError, match=r"^\[E008\] .*`top_k`.*'second'"):
        spacy.blank("xx").add_pipe(LINKER, name="second", config=config)


def test_the_factory_can_be_called_without_a_config(nlp_parts):
    nlp, model = nlp_parts
    linker = make_metric_entity_linker(nlp, "el", model, None, None, top_k=4)
    assert (linker.name, linker.settings) == ("el", LinkerSettings(top_k=4))


def test_a_call_with_an_unknown_setting(nlp_parts):
    nlp, model = nlp_parts
    with pytest.raises(MetricELError, match=r"^\[E016\] .*`no_such_setting`"):
        make_metric_entity_linker(nlp, "el", model, None, None, no_such_setting=1)


@pytest.fixture
def nlp_parts():
    """A pipeline and an encoder."""
    nlp = make_nlp()
    return nlp, nlp.get_pipe(LINKER).model
