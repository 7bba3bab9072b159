"""The factory `metric_entity_linker`. Nothing heavy is imported here: spaCy loads every
installed plugin's factories whenever a pipeline is made."""

import warnings
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

from spacy.language import Language
from thinc.api import Config, Model

from ..errors import MetricELWarning, Warnings
from ..settings import RETIRED, LinkerSettings, settings_from
from .linker import MetricEntityLinker

DEFAULT_PARTS = """
[loss]
@losses = "spacy_metric_el.PrototypeTriplet.v1"

[scorer]
@scorers = "spacy_metric_el.linking_scorer.v1"

[model]
@architectures = "spacy_metric_el.MetricEncoder.v1"

[model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 96
depth = 2
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true
"""


def _with_signature(make: Callable) -> Callable:
    """Let a function that takes any settings say which: spaCy reads from its signature what a config may hold."""
    given = [p for p in signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD]
    settings = [
        Parameter(setting, Parameter.KEYWORD_ONLY, annotation=field.annotation)
        for setting, field in LinkerSettings.model_fields.items()
    ]
    retired = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=Any, default=value)
        for name, value in RETIRED.items()
    ]
    make.__signature__ = Signature([*given, *settings, *retired])  # type: ignore[attr-defined]
    return make


@Language.factory(
    "metric_entity_linker",
    assigns=["token.ent_kb_id", "span._.kb_ents"],
    requires=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={**LinkerSettings().model_dump(), **Config().from_str(DEFAULT_PARTS)},
    default_score_weights={
        "el_acc": 1.0,
        "el_acc_in_kb": None,
        "el_recall_at_5": None,
        "el_recall_at_64": None,
        "el_mrr": None,
        "el_ece": None,
        "nel_micro_p": None,
        "nel_micro_r": None,
        "nel_micro_f": None,
    },
)
@_with_signature
def make_metric_entity_linker(
    nlp: Language,
    name: str,
    model: Model,
    loss: Any,
    scorer: Callable | None,
    **settings: Any,
) -> MetricEntityLinker:
    """Construct the linker.

    nlp (Language): The pipeline.
    name (str): Name of the component.
    model (Model): A `spacy_metric_el.MetricEncoder.v1`.
    loss (Any): A `LinkingLoss`.
    scorer (Callable | None): Scores examples.
    settings (Any): The fields of `LinkerSettings`; those in `RETIRED`, which a config of an
        earlier version has, are warned of (W007) where they asked for something.
    RETURNS (MetricEntityLinker): The component.
    RAISES (MetricELError): E008 for a setting out of range.
    """
    for setting, neutral in RETIRED.items():
        if settings.pop(setting, neutral) != neutral:
            message = Warnings.W007.format(setting=setting, name=name)
            warnings.warn(message, MetricELWarning, stacklevel=2)
    return MetricEntityLinker(
        nlp.vocab,
        model,
        name,
        nlp=nlp,
        loss=loss,
        scorer=scorer,
        settings=settings_from(name, settings),
    )
