"""The settings of the linker: their ranges, and changes made to them at run time."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from ..errors import Errors, MetricELError

Changes = dict[str, dict[str, Any]]


class LinkerSettings(TypedDict):
    """The settings; `MetricEntityLinker` says what each means."""

    overwrite: bool
    use_gold_ents: bool
    labels_discard: Iterable[str]
    threshold: float | None
    nil: str
    top_k: int
    search_rows: int
    prior_weight: float
    use_labels: bool
    prototype_radius: float
    prototypes_per_entity: int
    memory_weight: float
    memory_scale: float
    learn_rate_factor: float
    names_per_entity: int
    negatives_per_entity: int
    entity_rows: bool
    carry_kb: bool
    seed: int


def make_settings(name: str, given: LinkerSettings) -> dict[str, Any]:
    """Check settings, and copy them.

    name (str): Name of the linker.
    given (LinkerSettings): All settings.
    RETURNS (dict[str, Any]): The settings, which may be changed at run time.
    RAISES (TypeError): For a setting that is missing or unknown.
    RAISES (MetricELError): E008 for one out of range.
    """
    if wrong := set(given) ^ set(LinkerSettings.__annotations__):
        raise TypeError(f"missing or unknown settings: {', '.join(sorted(wrong))}")
    cfg = {**given, "labels_discard": list(given["labels_discard"])}
    check_settings(name, cfg)
    return cfg


def check_settings(name: str, cfg: Mapping[str, Any]) -> None:
    """Check the ranges of settings.

    name (str): Name of the linker.
    cfg (Mapping[str, Any]): Its settings.
    RAISES (MetricELError): E008 for the first one out of range.
    """
    threshold = cfg["threshold"]
    wrong = [
        (setting, "1 or more")
        for setting in ("top_k", "search_rows", "names_per_entity", "prototypes_per_entity")
        if cfg[setting] < 1
    ]
    wrong += [
        (setting, "0 or more")
        for setting in (
            "prior_weight",
            "negatives_per_entity",
            "prototype_radius",
            "memory_weight",
            "memory_scale",
        )
        if cfg[setting] < 0
    ]
    if threshold is not None and not 0 <= threshold <= 1:
        wrong.append(("threshold", "between 0 and 1"))
    for setting, expected in wrong:
        raise MetricELError(
            Errors.E008.format(setting=setting, name=name, value=cfg[setting], expected=expected)
        )


def settings_changed(cfg: Mapping[str, Any], configured: Mapping[str, Any]) -> Changes:
    """List what the config does not say.

    cfg (Mapping[str, Any]): The settings as they are.
    configured (Mapping[str, Any]): The settings as the config had them.
    RETURNS (Changes): Both values of each setting that differs.
    """
    return {
        key: {"configured": configured[key], "changed": value}
        for key, value in cfg.items()
        if value != configured[key]
    }


def restore_changes(
    cfg: dict[str, Any], configured: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    """Make saved changes again, except of settings that the config has since overridden.

    cfg (dict[str, Any]): The settings; changed in place.
    configured (Mapping[str, Any]): The settings as the config has them now.
    changes (Mapping[str, Any]): What `settings_changed` listed when they were saved.
    """
    for key, values in changes.items():
        if configured.get(key) == values["configured"]:
            cfg[key] = values["changed"]
