"""`kb info`: what a knowledge base holds."""

from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from spacy.cli._util import Arg, Opt
from wasabi import Printer

from ._summary import count_rows, describe_kb, format_bytes
from ._util import kb_app


@kb_app.command("info")
def kb_info_cli(
    path: Annotated[Path, Arg(help="Folder of the knowledge base")],
    as_json: Annotated[bool, Opt("--json", help="Print JSON instead of a table")] = False,
) -> None:
    """
    Show what a knowledge base holds: its counts and sources, the rows that are
    indexed, the encoder that made them, and its size on disk.

    \b
    EXAMPLES
    $ spacy metric-el kb info hpo.kb
    $ spacy metric-el kb info hpo.kb --json
    """
    summary = describe_kb(path)
    if as_json:
        typer.echo(srsly.json_dumps(summary, indent=2))
        return
    _show(path, summary, Printer())


def _show(path: Path, summary: dict[str, Any], msg: Printer) -> None:
    lines = {**count_rows(summary)}
    vectors = summary["vectors"]
    if vectors is not None:
        lines["Index"] = f"{vectors['index']}, {vectors['width']} wide"
        search = vectors["search"]
        if search["probes"]:
            lines["Clusters searched"] = f"{search['probes']:,}"
        if search["k_factor"] > 1:
            lines["Rows compared again"] = f"{search['k_factor']:g} for each row asked for"
        lines["Encoder"] = vectors["fingerprint"]
    meta = summary["manifest"]["meta"]
    for title, key in (("Sources", "sources"), ("Mentions", "mentions")):
        names = [source["name"] for source in meta.get(key, ())]
        if names:
            lines[title] = ", ".join(names)
    lines["Made by"] = f"spacy-metric-el {meta['version']}" if "version" in meta else "unknown"
    lines["On disk"] = format_bytes(summary["bytes"])
    msg.divider(path.name)
    msg.table(lines, max_col=120)
    sizes = {name: format_bytes(size) for name, size in summary["files"].items()}
    msg.table(sizes, header=("File", "Size"), aligns=("l", "r"), divider=True)
