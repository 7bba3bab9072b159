"""Link the marked mentions of some sentences; print a table, and write a displaCy page."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from wasabi import msg, table

CONCEPT_URL = "https://uts.nlm.nih.gov/uts/umls/concept/{}"
MENTION = re.compile(r"\[([^\]]+)\]")


def read_marked(nlp: Language, line: str) -> Doc:
    """RETURNS (Doc): A sentence whose [mentions] are its entities."""
    text, marks, shift = MENTION.sub(r"\1", line), [], 0
    for match in MENTION.finditer(line):
        start = match.start() - shift
        marks.append((start, start + len(match.group(1))))
        shift += 2
    doc = nlp.make_doc(text)
    spans = [
        doc.char_span(start, end, label="PHENOTYPE", alignment_mode="expand")
        for start, end in marks
    ]
    doc.ents = [span for span in spans if isinstance(span, Span)]
    return doc


def link_sentences(nlp: Language, sentences: Path) -> list[Doc]:
    """Link the sentences of a file, and print a table.

    nlp (Language): With a linker that has a knowledge base.
    sentences (Path): A sentence a line, its mentions in brackets.
    RETURNS (list[Doc]): The linked sentences.
    """
    lines = sentences.read_text(encoding="utf8").splitlines()
    docs = list(nlp.pipe(read_marked(nlp, line) for line in lines if line.strip()))
    rows = [
        (ent.text, ent.kb_id_, concept_name(nlp, ent), f"{ent._.kb_ents[0][1]:.2f}")
        for doc in docs
        for ent in doc.ents
    ]
    print(table(rows, header=("Mention", "CUI", "Name", "Score"), divider=True, max_col=60))
    return docs


def concept_name(nlp: Language, ent: Span) -> str:
    """RETURNS (str): What a linked mention's concept is called; empty for NIL."""
    kb: Any = nlp.get_pipe("metric_entity_linker").kb  # type: ignore[attr-defined]
    return kb[ent.kb_id_].canonical_name if ent.kb_id_ in kb else ""


def write_page(nlp: Language, docs: Sequence[Doc], page: Path) -> None:
    """Write linked sentences as displaCy shows them."""
    rendered = [
        {
            "text": doc.text,
            "title": None,
            "ents": [
                {
                    "start": ent.start_char,
                    "end": ent.end_char,
                    "label": concept_name(nlp, ent),
                    "kb_id": ent.kb_id_,
                    "kb_url": CONCEPT_URL.format(ent.kb_id_),
                }
                for ent in doc.ents
            ],
        }
        for doc in docs
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(displacy.render(rendered, style="ent", page=True, manual=True), encoding="utf8")
    msg.good(f"Wrote {page}")


def main(
    model: Path,
    kb: Path,
    sentences: Path,
    page: Annotated[Path | None, typer.Option(help="Also write a page, HTML")] = None,
) -> None:
    """Link SENTENCES with MODEL and KB."""
    nlp = spacy.load(model)
    nlp.get_pipe("metric_entity_linker").load_kb(kb)  # type: ignore[attr-defined]
    docs = link_sentences(nlp, sentences)
    if page is not None:
        write_page(nlp, docs, page)


if __name__ == "__main__":
    typer.run(main)
