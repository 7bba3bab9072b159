"""The settings of the linker: the one place of their defaults, ranges and texts.

The factory's defaults and its signature, the checks, and the page on settings in the docs
are all made of the fields of `LinkerSettings`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from .errors import Errors, MetricELError

Changes = dict[str, dict[str, Any]]

RETIRED = {"entity_rows": False}
"""Settings of earlier versions, and the value that changes nothing: a config may still name them."""


_KINDS: list[tuple[type, type, str]] = [
    (bool, bool, "true or false"),
    (int, Integral, "a whole number"),
    (float, Real, "a number"),
    # Settings that are off by default are numbers.
    (type(None), Real, "a number"),
    (str, str, "a string"),
    (list, list, "a list"),
]
"""The type of a default, what a value must then be an instance of, and how that is called."""


def _setting(
    default: Any, group: str, text: str, *, low: float | None = None, high: float | None = None
) -> Any:
    metadata = {"group": group, "text": text, "low": low, "high": high}
    if isinstance(default, list):
        return field(default_factory=list, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class LinkerSettings:
    """The settings of `metric_entity_linker`; the metadata of each field says what it means."""

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


def default_of(setting: Field) -> Any:
    """RETURNS (Any): The default of a field of `LinkerSettings`."""
    if setting.default_factory is not MISSING:
        return setting.default_factory()
    return setting.default


def default_settings() -> dict[str, Any]:
    """RETURNS (dict[str, Any]): All settings with their defaults, as a config has them."""
    return {setting.name: default_of(setting) for setting in fields(LinkerSettings)}


def check_settings(name: str, settings: LinkerSettings) -> None:
    """Check the kinds and ranges of settings.

    name (str): Name of the linker.
    settings (LinkerSettings): Its settings.
    RAISES (MetricELError): E008 for the first one of another kind, or out of range.
    """
    for setting in fields(LinkerSettings):
        value, default = getattr(settings, setting.name), default_of(setting)
        # Where None is the default, it says that the setting is off.
        if value is None and default is None:
            continue
        expected = _kind_missed(value, default) or _range_missed(value, setting)
        if expected:
            raise MetricELError(
                Errors.E008.format(setting=setting.name, name=name, value=value, expected=expected)
            )


def _kind_missed(value: Any, default: Any) -> str | None:
    """RETURNS (str | None): The kind of value that is wanted, if this one is of another."""
    kind, words = next(
        (kind, words) for example, kind, words in _KINDS if isinstance(default, example)
    )
    # True is a whole number for Python, and no setting of one.
    is_flag = isinstance(value, bool)
    return None if isinstance(value, kind) and is_flag == (kind is bool) else words


def _range_missed(value: Any, setting: Field) -> str | None:
    """RETURNS (str | None): The range of a setting, if a value is not in it."""
    low, high = setting.metadata["low"], setting.metadata["high"]
    # Said so that NaN is in no range.
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    return f"between {low} and {high}" if high is not None else f"{low} or more"


def settings_from(name: str, cfg: Mapping[str, Any]) -> LinkerSettings:
    """Read settings, as they may have been changed at run time.

    name (str): Name of the linker.
    cfg (Mapping[str, Any]): The settings by name.
    RETURNS (LinkerSettings): Checked.
    RAISES (MetricELError): E008 for a setting out of range, E016 for one that is not known.
    """
    known = {setting.name for setting in fields(LinkerSettings)}
    for unknown in cfg.keys() - known:
        raise MetricELError(
            Errors.E016.format(setting=unknown, name=name, known=", ".join(sorted(known)))
        )
    settings = LinkerSettings(**cfg)
    check_settings(name, settings)
    return settings


def settings_changed(cfg: Mapping[str, Any], configured: LinkerSettings) -> Changes:
    """List what the config does not say.

    cfg (Mapping[str, Any]): The settings as they are.
    configured (LinkerSettings): The settings as the config had them.
    RETURNS (Changes): Both values of each setting that differs.
    """
    return {
        key: {"configured": value, "changed": cfg[key]}
        for key, value in asdict(configured).items()
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
    before = asdict(configured)
    for key, values in changes.items():
        if key in before and before[key] == values["configured"]:
            cfg[key] = values["changed"]
