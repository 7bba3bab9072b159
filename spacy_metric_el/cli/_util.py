"""What the commands share: the apps, clean errors, loading a pipeline."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from spacy.cli._util import app as spacy_app
from typer.core import TyperGroup

from ..errors import Errors, MetricELError

if TYPE_CHECKING:
    from spacy.language import Language

    from ..pipeline.linker import MetricEntityLinker


HELP = """Link entities to concepts of a vocabulary such as UMLS: build and search
knowledge bases, convert corpora, evaluate pipelines."""
KB_HELP = """Build, inspect and search knowledge bases."""


class CleanErrorsGroup(TyperGroup):
    """Shows errors that a user can mend as one line, with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """RETURNS (Any): What the command returns. RAISES (typer.Exit): For an error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except MetricELError as err:
            _fail(str(err))
        except OSError as err:
            _fail(Errors.E302.format(reason=err))


app = typer.Typer(
    name="metric-el",
    help=HELP,
    cls=CleanErrorsGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)
kb_app = typer.Typer(name="kb", help=KB_HELP, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(kb_app, name="kb")
spacy_app.add_typer(app, name="metric-el")


def load_pipeline(model: str | Path) -> tuple["Language", "MetricEntityLinker"]:
    """Load a pipeline for the linker in it.

    model (str | Path): A folder or the name of a package.
    RETURNS (tuple[Language, MetricEntityLinker]): The pipeline and its first linker.
    RAISES (MetricELError): E301 if no pipeline can be loaded, E303 if it has no linker.
    """
    nlp = load_any_pipeline(model)
    from ..pipeline.linker import MetricEntityLinker

    for _, pipe in nlp.pipeline:
        if isinstance(pipe, MetricEntityLinker):
            return nlp, pipe
    raise MetricELError(Errors.E303.format(model=model, pipes=", ".join(nlp.pipe_names) or "none"))


def load_any_pipeline(model: str | Path) -> "Language":
    """RETURNS (Language): The pipeline. RAISES (MetricELError): E301 if none can be loaded."""
    import spacy

    try:
        return spacy.load(model)
    except MetricELError:
        raise
    except (OSError, ValueError) as err:
        # Errors of a config span several lines.
        reason = " ".join(str(err).split())
        raise MetricELError(Errors.E301.format(model=model, reason=reason)) from err


def blank_pipeline(lang: str) -> "Language":
    """RETURNS (Language): An empty pipeline. RAISES (MetricELError): E304 for an unknown language."""
    import spacy

    try:
        return spacy.blank(lang)
    except ImportError as err:
        raise MetricELError(Errors.E304.format(lang=lang)) from err


def use_device(gpu_id: int) -> None:
    """Run on a GPU from here on.

    gpu_id (int): Its number; -1 for the CPU.
    RAISES (MetricELError): E312 if there is no such GPU, or no library to use it.
    """
    from thinc.api import require_gpu

    if gpu_id < 0:
        return
    try:
        require_gpu(gpu_id)
    except (ValueError, RuntimeError) as err:
        raise MetricELError(Errors.E312.format(gpu_id=gpu_id, reason=err)) from err


def shows_progress() -> bool:
    """RETURNS (bool): Whether a progress bar would be seen."""
    return sys.stderr.isatty()


def _fail(text: str) -> NoReturn:
    # To stderr: standard output may be JSON that another program reads. Not with
    # wasabi, which would wrap the line.
    typer.secho(text, fg="red", err=True)
    raise typer.Exit(1)
