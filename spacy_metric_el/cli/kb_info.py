"""`kb info`: what a knowledge base holds."""

from pathlib import Path
from typing import Annotated, Any

import srsly
import typer
from spacy.cli._util import Arg, Opt
from wasabi import Printer

from ._summary import count_rows, describe_concepts, describe_kb, format_bytes
from ._util import kb_app


@kb_app.command("info")
def kb_info_cli(
    path: Annotated[Path, Arg(help="Folder of the knowledge base")],
    concept_ids: Annotated[
        list[str] | None, Arg(help="Concepts to show, with the sources of their names")
    ] = None,
    as_json: Annotated[bool, Opt("--json", help="Print JSON instead of a table")] = False,
) -> None:
    """
    Show what a knowledge base holds: its counts and sources, the rows that are
    indexed, the encoder that made them, and its size on disk; or show some concepts.

    \b
    EXAMPLES
    $ spacy metric-el kb info hpo.kb
    $ spacy metric-el kb info hpo.kb --json
    $ spacy metric-el kb info umls.kb C0000001 C0000002
    """
    if concept_ids:
        concepts = describe_concepts(path, concept_ids)
        if as_json:
            typer.echo(srsly.json_dumps(concepts, indent=2))
        else:
            for concept in concepts:
                _show_concept(concept, Printer())
        return
    summary = describe_kb(path)
    if as_json:
        typer.echo(srsly.json_dumps(summary, indent=2))
        return
    _show(path, summary, Printer())


def _show_concept(concept: dict[str, Any], msg: Printer) -> None:
    msg.divider(f"{concept['concept_id']} {concept['canonical_name']}")
    lines = {"Types": ", ".join(concept["types"]), "Definition": concept["definition"] or ""}
    msg.table({key: text for key, text in lines.items() if text}, max_col=120)
    names = [(name, ", ".join(sources)) for name, sources in concept["names"].items()]
    msg.table(names, header=("Name", "Sources"), divider=True, max_col=80)


def _show(path: Path, summary: dict[str, Any], msg: Printer) -> None:
    lines = {**count_rows(summary)}
    vectors = summary["vectors"]
    if vectors is not None:
        lines["Index"] = f"{vectors['index']}, {vectors['width']} wide"
        if vectors["postings"]:
            lines["Index"] += ", rows that share n-grams with a text"
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
