"""The settings of the linker: the one place of their defaults, ranges and texts.

The factory's defaults and its signature, the checks, and the page on settings in the docs
are all made of the fields of `LinkerSettings`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from .errors import Errors, MetricELError

Changes = dict[str, dict[str, Any]]

RETIRED = {"entity_rows": False}
"""Settings of earlier versions, and the value that changes nothing: a config may still name them."""


def _setting(
    default: Any, group: str, text: str, *, low: float | None = None, high: float | None = None
) -> Any:
    return Field(default, description=text, ge=low, le=high, json_schema_extra={"group": group})


class LinkerSettings(BaseModel, frozen=True, extra="forbid", strict=True):
    """The settings of `metric_entity_linker`; the description of each field says what it means."""

    # Linking
    threshold: float | None = _setting(
        None,
        "linking",
        "A best score below it gives `nil`. With a fitted ranker scores are probabilities, without one similarities.",
        low=0,
        high=1,
    )
    nil: str = _setting("NIL", "linking", "The id of a mention that is linked to nothing.")
    top_k: int = _setting(10, "linking", "Candidates kept in `span._.kb_ents`.", low=1)
    overwrite: bool = _setting(
        True, "linking", "Whether to replace links that entities already have."
    )
    labels_discard: list[str] = _setting([], "linking", "Entity labels that always get `nil`.")
    use_gold_ents: bool = _setting(
        True,
        "linking",
        "Whether evaluation links the gold mentions, so that the score does not depend on the entity recognizer.",
    )
    # Candidates
    search_rows: int = _setting(
        64, "candidates", "Nearest names that candidates are ranked from.", low=1
    )
    prior_weight: float = _setting(
        0.01,
        "candidates",
        "Weight of log p(entity | name) in the score that candidates are collected by: similarity times p to the power of it. It decides until a ranker is fitted.",
        low=0,
    )
    # Ranker
    use_labels: bool = _setting(
        False,
        "ranker",
        "Whether the ranker may go by the labels of mentions. They must then be as good where the pipeline is used as in the training corpus.",
    )
    prototype_radius: float = _setting(
        0.8,
        "ranker",
        "Radius of the clusters of an entity's training mentions, in Euclidean distance of unit vectors.",
        low=0,
        high=2,
    )
    prototypes_per_entity: int = _setting(4, "ranker", "At most so many clusters.", low=1)
    # Training
    memory_weight: float = _setting(
        1.0,
        "training",
        "Weight of the contrast of mentions with the prototypes of all training mentions, beside the loss; 0 turns it off.",
        low=0,
    )
    memory_scale: float = _setting(
        8.0,
        "training",
        "Scale of the cosines in that contrast: the inverse of a temperature.",
        low=0,
    )
    learn_rate_factor: float = _setting(
        1.0,
        "training",
        "Factor of the optimizer's learning rate, for the linker's own layers: behind a transformer they want longer steps than it does, such as 20 times.",
        low=0,
    )
    names_per_entity: int = _setting(
        3, "training", "Names of each gold entity in a training step.", low=1
    )
    negatives_per_entity: int = _setting(
        4, "training", "Mined names of other entities, for each gold one.", low=0
    )
    seed: int = _setting(
        0, "training", "Seed of a fresh encoder, and of drawing names in training.", low=0
    )
    # Storage
    carry_kb: bool = _setting(
        True,
        "storage",
        "Whether the saved pipeline holds the knowledge base; else it only says where it is, and `load_kb` once keeps the trained encoder's vectors there.",
    )


def settings_from(name: str, cfg: Mapping[str, Any]) -> LinkerSettings:
    """Read settings, as they may have been changed at run time.

    name (str): Name of the linker.
    cfg (Mapping[str, Any]): The settings by name.
    RETURNS (LinkerSettings): Checked.
    RAISES (MetricELError): E008 for a setting of another kind or out of range, E016 for one
        that is not known.
    """
    # Numbers of numpy are none of Python's.
    plain = {key: x.item() if isinstance(x, np.generic) else x for key, x in cfg.items()}
    try:
        return LinkerSettings(**plain)
    except ValidationError as err:
        wrong = err.errors()[0]
        setting = str(wrong["loc"][0])
        if setting not in LinkerSettings.model_fields:
            known = ", ".join(sorted(LinkerSettings.model_fields))
            message = Errors.E016.format(setting=setting, name=name, known=known)
        else:
            expected = wrong["msg"].removeprefix("Input should be ")
            message = Errors.E008.format(
                setting=setting, name=name, value=repr(cfg[setting]), expected=expected
            )
        raise MetricELError(message) from err


def settings_changed(cfg: Mapping[str, Any], configured: LinkerSettings) -> Changes:
    """List what the config does not say.

    cfg (Mapping[str, Any]): The settings as they are.
    configured (LinkerSettings): The settings as the config had them.
    RETURNS (Changes): Both values of each setting that differs.
    """
    return {
        key: {"configured": value, "changed": cfg[key]}
        for key, value in configured.model_dump().items()
        if cfg[key] != value
    }


def restore_changes(
    cfg: dict[str, Any], configured: LinkerSettings, changes: Mapping[str, Any]
) -> None:
    """Make saved changes again, except of settings that the config has since overridden.

    cfg (dict[str, Any]): The settings; changed in place.
    configured (LinkerSettings): The settings as the config has them now.
    changes (Mapping[str, Any]): What `settings_changed` listed when they were saved; those
        of retired settings are passed over.
    """
    before = configured.model_dump()
    for key, values in changes.items():
        if key in before and before[key] == values["configured"]:
            cfg[key] = values["changed"]
