"""The coded messages of the benchmark: 4xx, beside those of the package."""

from spacy_metric_el.errors import MetricELError


class BenchmarkError(MetricELError):
    """Every error that the benchmark raises for bad input."""


class Errors:
    # fmt: off
    E401 = "[E401] {path}: there is no such file or folder."
    E402 = "[E402] {path}: none of the mentions read has a concept id, so there is nothing to measure."
    E403 = "[E403] {folder}: no row has been measured here. Run a row first."
    E404 = "[E404] {path}: not the result of a row ({reason})."
    E405 = "[E405] {first} and {second} were measured on different mentions and cannot be compared. Run both on the same test file."
    E406 = "[E406] The package '{package}' is not installed, and this row needs it: pip install {requirement}."
    E407 = "[E407] scispaCy's own index was not built within {minutes:g} minutes. Raise --max-minutes, or use --index exact."
    E408 = "[E408] scispaCy's own index could not be built ({reason})."
    E409 = "[E409] {path}: the pipeline has no linker with `predict_spans`. Its components: {pipes}."
    E410 = "[E410] Setting `{setting}` is {value}, but must be {expected}."
    E411 = "[E411] {path}: the config cannot be read ({reason})."
    E412 = "[E412] The process that measures ({way}) failed: {reason}"
    # fmt: on
