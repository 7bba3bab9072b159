"""Link the marked mentions of some sentences; print a table and write a displaCy page."""

import re
from pathlib import Path

import spacy
import typer
from spacy import displacy
from spacy.tokens import Doc, Span
from wasabi import msg, table

CONCEPT_URL = "https://uts.nlm.nih.gov/uts/umls/concept/{}"
MENTION = re.compile(r"\[([^\]]+)\]")


def read_marked(nlp: spacy.language.Language, line: str) -> Doc:
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


def main(model: Path, kb: Path, sentences: Path, page: Path) -> None:
    """Link SENTENCES with MODEL and KB, and write PAGE (HTML)."""
    nlp = spacy.load(model)
    linker = nlp.get_pipe("metric_entity_linker")
    linker.load_kb(kb)
    lines = sentences.read_text(encoding="utf8").splitlines()
    docs = list(nlp.pipe(read_marked(nlp, line) for line in lines if line.strip()))
    rows = []
    for doc in docs:
        for ent in doc.ents:
            name = linker.kb[ent.kb_id_].canonical_name if ent.kb_id_ in linker.kb else ""
            rows.append((ent.text, ent.kb_id_, name, f"{ent._.kb_ents[0][1]:.2f}"))
    print(table(rows, header=("Mention", "CUI", "Name", "Score"), divider=True, max_col=60))
    page.parent.mkdir(parents=True, exist_ok=True)
    rendered = [
        {
            "text": doc.text,
            "title": None,
            "ents": [
                {
                    "start": ent.start_char,
                    "end": ent.end_char,
                    "label": linker.kb[ent.kb_id_].canonical_name
                    if ent.kb_id_ in linker.kb
                    else "",
                    "kb_id": ent.kb_id_,
                    "kb_url": CONCEPT_URL.format(ent.kb_id_),
                }
                for ent in doc.ents
            ],
        }
        for doc in docs
    ]
    page.write_text(displacy.render(rendered, style="ent", page=True, manual=True), encoding="utf8")
    msg.good(f"Wrote {page}")


if __name__ == "__main__":
    typer.run(main)
