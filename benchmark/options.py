"""What the command lines share: options, overrides of configs, pages of figures."""

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from wasabi import MarkdownRenderer, table

from spacy_metric_el.cli._util import CleanErrorsGroup

from .errors import BenchmarkError, Errors

PROJECT = Path(__file__).resolve().parents[1] / "project"
CONFIGS = PROJECT / "configs"
FIGURES = Path("project/metrics")
VECTORS = Path("project/kb/vectors")

Config = Annotated[Path, typer.Option(help="Config of the pipeline")]
Steps = Annotated[
    int, typer.Option(min=0, help="Of training, with one fit of the ranker; 0: as the config says")
]
Override = Annotated[
    list[str] | None,
    typer.Option(help="KEY=VALUE of the config; `linker.` stands for the linker's block"),
]
CorpusName = Annotated[str, typer.Argument(help="What the corpus is called in the tables")]
KbFolder = Annotated[Path, typer.Option("--kb", help="Knowledge base that all rows link to")]
TrainFile = Annotated[Path, typer.Option("--train", help="PubTator file to learn from")]
TestFile = Annotated[
    str,
    typer.Option("--dev", help="PubTator file to measure on; dev.pubtator beside --train if empty"),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the figures")]
Folder = Annotated[Path, typer.Option(help="Folder of the figures")]
Limit = Annotated[int, typer.Option(min=0, help="Documents to measure on; 0 for all")]
TrainLimit = Annotated[int, typer.Option(min=0, help="Documents to learn from; 0 for all")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn")]
RowSeed = Annotated[int | None, typer.Option(help="If given, it is part of the row's name")]
Name = Annotated[str, typer.Option(help="Name of the row; if not given, that of the command")]
Minutes = Annotated[float, typer.Option(min=0.0, help="Minutes of training")]


def make_app(name: str, help: str) -> typer.Typer:
    """RETURNS (Typer): An app whose errors are one line."""
    return typer.Typer(
        name=name,
        help=help,
        cls=CleanErrorsGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
    )


def with_options(make: Callable, run: Callable) -> Any:
    """Make a command of two functions, which has the options of both.

    make (Callable): Makes something of its options.
    run (Callable): Gets it as `row`, beside its own options.
    RETURNS (Callable): The command.
    """
    shared = dict(inspect.signature(run).parameters)
    shared.pop("row")
    own = inspect.signature(make).parameters

    def command(**given: Any) -> None:
        row = make(**{key: given.pop(key) for key in own})
        run(**given, row=row)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (*shared.values(), *own.values())
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {x.name: x.annotation for x in parameters}
    return command


def read_overrides(values: list[str] | None, steps: int = 0) -> dict[str, Any]:
    """Read overrides of a config.

    values (list[str] | None): Each `KEY=VALUE`, the value in JSON or a string.
    steps (int): Of training; 0 for those of the config.
    RETURNS (dict[str, Any]): Values by their dotted names.
    RAISES (MetricELError): E410 for one without a value.
    """
    found: dict[str, Any] = {}
    if steps:
        found = {"training.max_steps": steps, "training.eval_frequency": steps}
    for text in values or ():
        key, is_set, value = text.partition("=")
        if not is_set or "." not in key:
            expected = "KEY=VALUE, with a dotted key"
            message = Errors.E410.format(setting="override", value=text, expected=expected)
            raise BenchmarkError(message)
        try:
            found[key] = srsly.json_loads(value)
        except ValueError:
            found[key] = value
    return found


def find_test(test: str, train: Path) -> Path:
    """RETURNS (Path): The file to measure on: `dev.pubtator` beside the training file, if none is given."""
    return Path(test) if test else train.with_name("dev.pubtator")


def shows_progress() -> bool:
    """RETURNS (bool): Whether a progress bar would be seen."""
    return sys.stderr.isatty()


class Page:
    """Tables that are printed, and written in Markdown.

    path (Path): The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._page = path, MarkdownRenderer()

    def table(self, title: str, header: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
        """Add a table, unless it has no lines."""
        if lines:
            aligns = ["l", *"r" * (len(header) - 1)]
            self._page.add(self._page.title(2, title))
            self._page.add(self._page.table(lines, header=header, aligns=aligns))
            typer.echo(table(lines, header=header, divider=True))

    def text(self, line: str) -> None:
        """Add a paragraph."""
        self._page.add(line)
        typer.echo(line)

    def write(self) -> None:
        """Write the file."""
        self.path.write_text(self._page.text + "\n", encoding="utf8")
