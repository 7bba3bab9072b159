"""The one place of a setting's default, range and text."""

from inspect import signature

import numpy as np
import pytest

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.pipeline.factory import make_metric_entity_linker
from spacy_metric_el.settings import (
    RETIRED,
    LinkerSettings,
    restore_changes,
    settings_changed,
    settings_from,
)

from .util import LINKER, make_nlp

DEFAULTS = LinkerSettings().model_dump()
RANGED = [
    (name, getattr(bound, side), step)
    for name, setting in LinkerSettings.model_fields.items()
    for bound in setting.metadata
    for side, step in (("ge", -1), ("le", 1))
    if hasattr(bound, side)
]


def test_the_factory_takes_each_setting_with_its_default():
    config = make_nlp().get_pipe_meta(LINKER).default_config
    assert {name: config[name] for name in DEFAULTS} == DEFAULTS
    taken = set(signature(make_metric_entity_linker).parameters)
    assert taken == {"nlp", "name", "model", "loss", "scorer", *DEFAULTS, *RETIRED}


def test_each_setting_says_what_it_means():
    for setting in LinkerSettings.model_fields.values():
        assert setting.json_schema_extra["group"]
        assert setting.description.endswith(".")


@pytest.mark.parametrize(("name", "bound", "step"), RANGED)
def test_ranges_include_their_ends(name, bound, step):
    assert len(RANGED) > 10
    assert getattr(settings_from("linker", {name: bound}), name) == bound
    with pytest.raises(MetricELError, match=rf"^\[E008\].*`{name}`"):
        settings_from("linker", {name: bound + step})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", "5"),
        ("top_k", 5.5),
        ("top_k", True),
        ("top_k", None),
        ("threshold", "0.5"),
        ("threshold", float("nan")),
        ("memory_weight", float("nan")),
        ("nil", 0),
        ("overwrite", "no"),
        ("overwrite", 1),
        ("labels_discard", "DATE"),
        ("learn_rate_factor", -1.0),
        ("seed", -1),
    ],
)
def test_values_of_another_kind_are_refused(name, value):
    with pytest.raises(MetricELError, match=rf"^\[E008\].*`{name}`"):
        settings_from("linker", {name: value})


@pytest.mark.parametrize(("name", "value"), [("top_k", np.int64(5)), ("threshold", np.float32(1))])
def test_numbers_of_numpy_are_taken(name, value):
    assert getattr(settings_from("linker", {name: value}), name) == value


def test_defaults_are_not_shared():
    first, second = LinkerSettings(), LinkerSettings()
    first.labels_discard.append("DATE")
    assert second.labels_discard == LinkerSettings().model_dump()["labels_discard"] == []


def test_unknown_settings_are_named():
    with pytest.raises(MetricELError, match=r"^\[E016\].*`topk`.*top_k"):
        settings_from("linker", {"topk": 3})


def test_changes_are_listed_and_made_again_unless_the_config_overrides_them():
    configured = LinkerSettings(top_k=5)
    cfg = {**configured.model_dump(), "top_k": 7, "nil": "none"}
    changes = settings_changed(cfg, configured)
    assert set(changes) == {"top_k", "nil"}
    same, other = configured.model_dump(), LinkerSettings(top_k=9).model_dump()
    restore_changes(same, configured, {**changes, "entity_rows": changes["nil"]})
    restore_changes(other, LinkerSettings(top_k=9), changes)
    assert same == cfg
    assert (other["top_k"], other["nil"]) == (9, "none")
