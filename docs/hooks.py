"""What the documentation makes of the package itself, so that it cannot differ from it: tables, and
a page of the Python interface for each package in it."""

import json
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parent.parent / "spacy_metric_el"
API = "api"
"""The folder of the pages that are made of modules."""
MODULES = "Modules"
"""The part of the navigation that lists them."""

SETTINGS_MARKER = "<!-- settings -->"
ERRORS_MARKER = "<!-- errors -->"
CURES = Path(__file__).parent / "cures.yml"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """RETURNS (MkDocsConfig): With the pages of modules in the navigation."""
    pages: list[Any] = [{_title(package): _page(package)} for package in packages()]
    for part in config.nav or []:
        if isinstance(part, dict) and MODULES in part:
            part[MODULES] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """RETURNS (Files): With a page for each package."""
    for package, modules in packages().items():
        text = module_page(package, modules)
        files.append(File.generated(config, _page(package), content=text))
    return files


def packages() -> dict[str, list[str]]:
    """RETURNS (dict[str, list[str]]): The public modules of each package, all by their full names. The single files are those of the package `spacy_metric_el`."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if not path.stem.startswith("_"):
            found.setdefault(".".join(parts[:-1]), []).append(".".join(parts))
    return found


def module_page(package: str, modules: list[str]) -> str:
    """RETURNS (str): The page of a package, in Markdown."""
    return "\n\n".join([f"# {_title(package)}", *(f"::: {module}" for module in modules), ""])


def _title(package: str) -> str:
    _, _, name = package.partition(".")
    return f"{name.replace('.', '/')}/" if name else "Single files"


def _page(package: str) -> str:
    _, _, name = package.partition(".")
    return f"{API}/{name or 'files'}.md"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """RETURNS (str): The page, with tables in place of its markers."""
    if SETTINGS_MARKER in markdown:
        markdown = markdown.replace(SETTINGS_MARKER, settings_tables())
    if ERRORS_MARKER in markdown:
        markdown = markdown.replace(ERRORS_MARKER, message_tables())
    return markdown


def settings_tables() -> str:
    """RETURNS (str): A table of the linker's settings for each of their groups."""
    from spacy_metric_el.settings import LinkerSettings

    groups: dict[str, list[list[str]]] = {}
    for name, setting in LinkerSettings.model_fields.items():
        bounds = [
            next((getattr(part, side) for part in setting.metadata if hasattr(part, side)), None)
            for side in ("ge", "le")
        ]
        groups.setdefault(setting.json_schema_extra["group"], []).append(
            [
                f"`{name}`",
                f"`{json.dumps(setting.default)}`",
                _range(*bounds),
                setting.description,
            ]
        )
    return "\n\n".join(
        f"## {group.capitalize()}\n\n{_table(['setting', 'default', 'range', 'meaning'], rows)}"
        for group, rows in groups.items()
    )


def message_tables() -> str:
    """RETURNS (str): A table of all errors and one of all warnings, with what to do about each."""
    from spacy_metric_el.errors import Errors, Warnings

    cures = yaml.safe_load(CURES.read_text(encoding="utf8"))
    parts = []
    for title, catalogue in (("Errors", Errors), ("Warnings", Warnings)):
        # Not by getattr, which puts the code in front of the text. The span is what links go to.
        rows = [
            [
                f'<span id="{code.lower()}"></span>`{code}`',
                f"`` {text} ``" if "`" in text else f"`{text}`",
                cures[code],
            ]
            for code, text in vars(catalogue).items()
            if not code.startswith("__")
        ]
        parts.append(f"## {title}\n\n{_table(['code', 'message', 'what to do'], rows)}")
    return "\n\n".join(parts)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"{low} or more"
    return f"up to {high}" if low is None else f"{low} to {high}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
