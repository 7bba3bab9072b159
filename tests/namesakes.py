"""Made corpora in which one name means two concepts, and linkers that are fitted to them."""

import spacy

from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.kb.knowledge_base import count_mentions

from .util import LINKER, VOCABULARY, make_example, make_nlp

TOLD_BY_DOCUMENT = [
    ("cold", "C03", "acute coryza"),
    ("cold", "C04", "coldness"),
    ("MI", "C01", "heart attack"),
    ("MI", "C02", "mitral regurgitation"),
]
"""A name of two concepts, one of them, and another name of it."""

UNSEEN = [("ASA", "C05", "acetylsalicylic acid"), ("ASA", "C06", "anterior spinal artery")]
"""The same of concepts that the corpora do not mention."""

CONTEXTS = [("She caught {} again", "C03"), ("Winter brought {} weather", "C04")]
"""The neighbours of "cold", and what it means there."""


def by_document(nlp, cases=TOLD_BY_DOCUMENT, *, repeats=3, start=0):
    """RETURNS (list[Example]): The same words around a name; another mention tells its concept."""
    return [
        make_example(nlp, f"Report {i} is of {name} and then of {other}", (name, cid), (other, cid))
        for i in range(start, start + repeats)
        for name, cid, other in cases
    ]


def by_context(nlp, *, repeats=8, start=0):
    """RETURNS (list[Example]): Documents of one mention, whose neighbours tell its concept."""
    return [
        make_example(nlp, f"{i} . {template.format('cold')}", ("cold", cid))
        for i in range(start, start + repeats)
        for template, cid in CONTEXTS
    ]


def counted_kb(examples, entities=VOCABULARY):
    """RETURNS (FaissKnowledgeBase): With the counts of a corpus, as `kb build --mentions` makes it."""
    mentions = ((ent.text, [ent.kb_id_]) for eg in examples for ent in eg.reference.ents)
    return FaissKnowledgeBase.from_entities(entities, count_mentions(mentions))


def ready(make_examples, kind="own", *, bert=None, **config):
    """RETURNS (tuple): A pipeline that was initialized with a corpus, its linker, and the corpus."""
    spacy.util.fix_random_seed(0)
    nlp = make_nlp(kind, bert=bert, **config)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    linker = nlp.get_pipe(LINKER)
    linker.set_kb(counted_kb(examples))
    return nlp, linker, examples


def fitted(make_examples, kind="own", **config):
    """RETURNS (tuple): As `ready`, with a ranker."""
    nlp, linker, examples = ready(make_examples, kind, **config)
    linker.fit_ranker(nlp)
    return nlp, linker, examples


def accuracy(nlp, examples):
    """RETURNS (float): Share of the gold mentions that a pipeline links right."""
    return nlp.evaluate(examples)["el_acc"]


def candidates(nlp, examples):
    """RETURNS (list[list[tuple[str, float]]]): Of the gold mentions of a corpus, exactly."""
    docs = [eg.reference.copy() for eg in examples]
    for doc in nlp.pipe(docs):
        assert doc.ents
    return [ent._.kb_ents for doc in docs for ent in doc.ents]
