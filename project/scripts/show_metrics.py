"""Show the metrics of several runs side by side."""

from pathlib import Path

import srsly
import typer

from spacy_metric_el.evaluation.report import format_metrics, markdown_table


def main(
    runs: list[str], markdown: Path = typer.Option(None, help="Also write a Markdown table")
) -> None:
    """Print one row per RUN, each given as "name=path/to/metrics.json"."""
    rows = {}
    for run in runs:
        name, _, path = run.partition("=")
        metrics = srsly.read_json(path)
        if "exact_lookup" in metrics and "exact lookup" not in rows:
            rows["exact lookup"] = metrics["exact_lookup"]
        rows[name] = metrics
    print(format_metrics(rows))
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(markdown_table(rows) + "\n", encoding="utf8")


if __name__ == "__main__":
    typer.run(main)
