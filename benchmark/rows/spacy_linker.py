"""spaCy's own `entity_linker`, on the same knowledge base and training mentions."""

import random
from collections.abc import Iterable, Sequence
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from spacy.kb import Candidate, InMemoryLookupKB
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch
from spacy.vocab import Vocab
from tqdm import tqdm

from spacy_metric_el.corpus.readers import PubTatorCorpus
from spacy_metric_el.kb import FaissKnowledgeBase
from spacy_metric_el.text import normalise_name

from ..mentions import Corpus, make_tokenizer
from ..names import Candidates, NameTable
from ..task import TOP_K, Task, Training

BATCH_SIZE = 16
"""Documents of a training step."""

DROPOUT = 0.2


class SpacyRow:
    """`entity_linker` with its default model, candidates by alias and priors by training counts.

    budget_minutes (float): What training may take; steps are not cut short.
    vector_width (int): Of the entity vectors.
    """

    def __init__(
        self,
        *,
        name: str = "spacy-entity-linker",
        budget_minutes: float = 5.0,
        vector_width: int = 64,
    ) -> None:
        self.name = name
        self.budget_minutes, self.vector_width = budget_minutes, vector_width
        self.settings: dict[str, Any] = {
            "budget_minutes": budget_minutes,
            "vector_width": vector_width,
            "entity_vectors": "truncated SVD of TF-IDF over the words of names and definition",
        }
        self.notes = ["aliases compared in their normal form, which spaCy's lookup does not do"]
        self.depth = TOP_K

    def train(self, task: Task) -> Training:
        """Fill spaCy's knowledge base, and train the context encoder until the time is up."""
        started = perf_counter()
        fix_random_seed(task.seed)
        self.nlp = make_tokenizer()
        linker: Any = self.nlp.add_pipe("entity_linker", config={"use_gold_ents": True})
        self.linker = linker
        linker.get_candidates = look_up
        vectors = entity_vectors(task.kb, task.names, width=self.vector_width, seed=task.seed)
        linker.kb = fill_kb(self.nlp.vocab, task.names, vectors)
        examples = read_examples(self.nlp, task)
        optimizer = self.nlp.initialize(lambda: islice(examples, 10))
        build_seconds = perf_counter() - started
        started = perf_counter()
        draw = random.Random(task.seed)
        steps, losses = 0, [0.0]
        with tqdm(desc="Training", unit=" steps", disable=not task.progress) as bar:
            while perf_counter() - started < 60 * self.budget_minutes:
                losses.append(0.0)
                for batch in minibatch(draw.sample(examples, len(examples)), BATCH_SIZE):
                    found: dict[str, float] = {}
                    self.nlp.update(batch, sgd=optimizer, drop=DROPOUT, losses=found)
                    losses[-1] += found["entity_linker"]
                    steps += 1
                    bar.update()
                    if perf_counter() - started >= 60 * self.budget_minutes:
                        break
        epochs = steps * BATCH_SIZE / max(len(examples), 1)
        details = {"steps": steps, "epochs": epochs, "losses": losses[1:]}
        return Training(build_seconds, perf_counter() - started, details)

    def link(self, corpus: Corpus, *, top_k: int) -> list[Candidates]:
        """RETURNS (list[Candidates]): For each mention; the score joins prior and context."""
        return [
            rank(self.linker, corpus.docs[mention.doc][mention.start : mention.end], mention.text)[
                :top_k
            ]
            for mention in corpus.mentions
        ]


def look_up(kb: InMemoryLookupKB, mention: Span | str) -> Iterable[Candidate]:
    """RETURNS (Iterable[Candidate]): The concepts that bear a mention's text as a name."""
    text = mention if isinstance(mention, str) else mention.text
    return kb.get_alias_candidates(normalise_name(text))


def rank(linker: Any, span: Span, text: str) -> Candidates:
    """Rank the candidates of a span by the scores that the component's `predict` chooses by.

    linker (EntityLinker): The component.
    span (Span): The mention in its document, which has sentences.
    text (str): The alias to look up.
    RETURNS (Candidates): Ties by prior, then by id, where the component draws.
    """
    candidates = list(look_up(linker.kb, text))
    if not candidates:
        return ()
    priors = np.asarray([candidate.prior_prob for candidate in candidates], dtype=np.float32)
    scores = priors
    if len(candidates) > 1:
        sentences = list(getattr(span, "sents"))  # noqa: B009 - spaCy's stub lacks it
        part = span.doc[sentences[0].start : sentences[-1].end].as_doc()
        start = span.start - sentences[0].start
        part.ents = [Span(part, start, start + len(span), label="MENTION")]
        context = linker.model.predict([part])[0]
        vectors = np.asarray([candidate.entity_vector for candidate in candidates])
        lengths = np.linalg.norm(context) * np.linalg.norm(vectors, axis=1)
        similarities = vectors @ context / np.maximum(lengths, 1e-12)
        scores = priors + similarities - priors * similarities
    ids = [candidate.entity_ for candidate in candidates]
    order = sorted(range(len(ids)), key=lambda i: (-scores[i], -priors[i], ids[i]))
    return tuple((ids[i], float(scores[i])) for i in order)


def fill_kb(vocab: Vocab, names: NameTable, vectors: np.ndarray) -> InMemoryLookupKB:
    """Make spaCy's knowledge base.

    vocab (Vocab): Of the pipeline.
    names (NameTable): Names become aliases, in their normal form.
    vectors (np.ndarray): (concepts, width).
    RETURNS (InMemoryLookupKB): With the priors p(entity | name) of smoothed counts.
    """
    kb = InMemoryLookupKB(vocab, entity_vector_length=vectors.shape[1])
    uses = np.bincount(names.entities, weights=names.counts, minlength=len(names.concepts))
    kb.set_entities(names.concepts, uses.tolist(), vectors)
    for key, start, end in zip(names.keys, names.offsets[:-1], names.offsets[1:], strict=True):
        weights = names.counts[start:end] + 0.5
        concepts = [names.concepts[i] for i in names.entities[start:end]]
        kb.add_alias(key, concepts, (weights / weights.sum()).tolist())
    return kb


def entity_vectors(
    kb: FaissKnowledgeBase, names: NameTable, *, width: int, seed: int
) -> np.ndarray:
    """Describe each concept by the words of its names and definition.

    kb (FaissKnowledgeBase): With the definitions.
    names (NameTable): With all names.
    width (int): Of the vectors.
    seed (int): Of the decomposition.
    RETURNS (np.ndarray): (concepts, width) float32, of unit length where there is any word.
    """
    texts = [
        " ".join([*(names.keys[row] for row in rows), entity.definition or ""])
        for entity, rows in zip(kb.entities(), names.names_of_concepts(), strict=True)
    ]
    words = TfidfVectorizer(min_df=min(2, len(texts)), sublinear_tf=True, dtype=np.float32)
    counts = words.fit_transform(texts)
    reduced = min(width, min(counts.shape) - 1)
    vectors = TruncatedSVD(reduced, random_state=seed).fit_transform(counts)
    padded = np.zeros((len(texts), width), dtype=np.float32)
    padded[:, :reduced] = normalize(vectors)
    return padded


def read_examples(nlp: Language, task: Task) -> Sequence[Example]:
    """RETURNS (Sequence[Example]): The training documents, cut into sentences on both sides."""
    sentencizer = nlp.get_pipe("sentencizer")
    examples = list(PubTatorCorpus(task.train_path, limit=task.train_limit)(nlp))
    for example in examples:
        for doc in (example.predicted, example.reference):
            sentencizer(doc)
    return [example for example in examples if example.reference.ents]
