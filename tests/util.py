"""Small pipelines and vocabularies for tests."""

import gzip
from importlib.util import find_spec

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_metric_el.errors import MetricELError
from spacy_metric_el.kb import Entity, FaissKnowledgeBase

LINKER = "metric_entity_linker"

VOCABULARY = [
    Entity(
        "C01", "heart attack", ["myocardial infarction", "MI"], ["T047"], "Death of heart muscle."
    ),
    Entity("C02", "mitral insufficiency", ["mitral regurgitation", "MI"], ["T047"]),
    Entity(
        "C03", "common cold", ["cold", "acute coryza"], ["T047"], "A viral infection of the nose."
    ),
    Entity("C04", "low temperature", ["cold", "coldness"], ["T070"]),
    Entity("C05", "aspirin", ["acetylsalicylic acid", "ASA"], ["T121"]),
    Entity("C06", "anterior spinal artery", ["ASA"], ["T023"]),
    Entity("C07", "headache", ["cephalgia", "head pain"], ["T184"]),
    Entity("C08", "fever", ["pyrexia"], ["T184"]),
]

NICKNAMES = [
    Entity("N1", "heart attack", ["myocardial infarction"], ["T047"]),
    Entity("N2", "broken leg", ["fracture of tibia"], ["T037"]),
    Entity("N3", "sunburn", ["actinic erythema"], ["T037"]),
]
"""Entities whose nicknames in `nickname_examples` look like none of their names."""

NICKNAME_OF = {"zorblax": "N1", "quimpy": "N2", "vudge": "N3"}
"""Nickname to entity."""

SURFACE = {
    "context_width": 16,
    "surface_width": 32,
    "ngram_weight_rows": 2048,
    "ngram_vector_rows": 512,
}
"""A small encoder."""

HASH_EMBED = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 16,
    "depth": 1,
    "embed_size": 300,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
}

OWN_TOK2VEC = dict(HASH_EMBED)
TOK2VEC_LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"}
TRANSFORMER_LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "upstream": "*",
    "pooling": {"@layers": "reduce_mean.v1"},
}

CURATED_LISTENER = {
    "@architectures": "spacy-curated-transformers.LastTransformerLayerListener.v1",
    "width": 32,
    "upstream": "*",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}

CURATED = pytest.param(
    "curated",
    marks=[
        pytest.mark.skipif(
            find_spec("spacy_curated_transformers") is None,
            reason="spacy-curated-transformers is not installed",
        ),
        # Its code, of numpy 1.25.
        pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning"),
    ],
)
"""The kind of pipeline with a curated transformer, as a parameter of a test."""


def encoder_config(tok2vec, **settings):
    """RETURNS (dict): The model block of a small linker."""
    return {
        "@architectures": "spacy_metric_el.MetricEncoder.v1",
        "tok2vec": tok2vec,
        **SURFACE,
        **settings,
    }


def transformer_config(
    path, window=64, stride=48, architecture="spacy-transformers.TransformerModel.v3"
):
    """RETURNS (dict): A transformer component over a model in a local folder."""
    return {
        "model": {
            "@architectures": architecture,
            "name": str(path),
            "get_spans": {
                "@span_getters": "spacy-transformers.strided_spans.v1",
                "window": window,
                "stride": stride,
            },
            "tokenizer_config": {"use_fast": True},
        },
        "max_batch_items": 4096,
    }


def curated_config(folder, window=64, stride=48, **settings):
    """RETURNS (dict): A curated transformer with the sizes of the BERT in a folder."""
    sizes = srsly.read_json(folder / "config.json")
    return {
        "model": {
            "@architectures": "spacy-curated-transformers.BertTransformer.v1",
            "vocab_size": sizes["vocab_size"],
            "hidden_width": sizes["hidden_size"],
            "intermediate_width": sizes["intermediate_size"],
            "num_attention_heads": sizes["num_attention_heads"],
            "num_hidden_layers": sizes["num_hidden_layers"],
            "max_position_embeddings": sizes["max_position_embeddings"],
            "model_max_length": sizes["max_position_embeddings"],
            "attention_probs_dropout_prob": 0.0,
            "hidden_dropout_prob": 0.0,
            "piece_encoder": {
                "@architectures": "spacy-curated-transformers.BertWordpieceEncoder.v1"
            },
            "with_spans": {
                "@architectures": "spacy-curated-transformers.WithStridedSpans.v1",
                "window": window,
                "stride": stride,
            },
        },
        **settings,
    }


def curated_loaders(folder):
    """RETURNS (dict): What initializes a curated transformer with the weights in a folder."""
    return {
        f"{part}_loader": {
            "@model_loaders": f"spacy-curated-transformers.{loader}.v1",
            "name": str(folder),
        }
        for part, loader in (
            ("encoder", "HFTransformerEncoderLoader"),
            ("piecer", "HFPieceEncoderLoader"),
        )
    }


def ner_config(tok2vec):
    """RETURNS (dict): A small entity recognizer over a tok2vec layer."""
    return {
        "model": {
            "@architectures": "spacy.TransitionBasedParser.v2",
            "state_type": "ner",
            "extra_state_tokens": False,
            "hidden_width": 8,
            "maxout_pieces": 2,
            "use_upper": True,
            "nO": None,
            "tok2vec": tok2vec,
        }
    }


def make_nlp(
    kind="own", *, bert=None, spans=(64, 48), ner=False, entities=(), model=None, **config
):
    """Make a pipeline that is not initialized.

    kind (str): `own` for a tok2vec inside the linker; `listener`, `transformer`, `bfloat16`
        or `curated` for one that it listens to.
    bert (Path | None): Folder of the model of a transformer.
    spans (tuple[int, int]): Window and stride of what it reads at once, in tokens; in
        pieces if it is curated.
    ner (bool): Whether an entity recognizer listens as well.
    entities (Iterable[str]): Patterns of an entity ruler before the linker.
    model (dict | None): Settings of the encoder.
    RETURNS (Language): With the linker as last component.
    """
    # Its tokenizer has none of English's special cases, which take 0.1 s to make.
    nlp = spacy.blank("xx")
    tok2vec = OWN_TOK2VEC
    if kind == "listener":
        nlp.add_pipe("tok2vec", config={"model": HASH_EMBED})
        tok2vec = TOK2VEC_LISTENER
    elif kind == "transformer":
        nlp.add_pipe("transformer", config=transformer_config(bert, *spans))
        tok2vec = TRANSFORMER_LISTENER
    elif kind == "bfloat16":
        block = transformer_config(bert, *spans, "spacy_metric_el.BFloat16TransformerModel.v1")
        nlp.add_pipe("transformer", config=block)
        tok2vec = TRANSFORMER_LISTENER
    elif kind == "curated":
        nlp.add_pipe("curated_transformer", name="transformer", config=curated_config(bert, *spans))
        nlp.config["initialize"]["components"]["transformer"] = curated_loaders(bert)
        tok2vec = CURATED_LISTENER
    if ner:
        nlp.add_pipe("ner", config=ner_config(tok2vec))
    if entities:
        patterns = [
            {"label": "ENTITY", "pattern": [{"LOWER": word} for word in text.lower().split()]}
            for text in entities
        ]
        nlp.add_pipe("entity_ruler").add_patterns(patterns)
        # Its `initialize` drops patterns that the config does not hold.
        nlp.config["initialize"]["components"]["entity_ruler"] = {"patterns": patterns}
    block = encoder_config(tok2vec, **(model or {}))
    nlp.add_pipe(LINKER, config={"model": block, **config})
    return nlp


def make_kb(entities=VOCABULARY):
    """RETURNS (FaissKnowledgeBase): In memory, without vectors."""
    return FaissKnowledgeBase.from_entities(entities)


def make_records(entities, counts=None):
    """RETURNS (Records): The tables of a vocabulary."""
    return FaissKnowledgeBase.from_entities(entities, counts).records


def write_file(path, content):
    """RETURNS (Path): The file, with a text or bytes in it; gzipped if its name ends in .gz."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def has_kb(linker):
    """RETURNS (bool): False if a linker says (E001) that it has no knowledge base."""
    try:
        return linker.kb is not None
    except MetricELError as error:
        return error.code != "E001"


def make_doc(nlp, text, *ents):
    """RETURNS (Doc): With entities, each a stretch of the text and its concept id."""
    doc = nlp.make_doc(text)
    spans = []
    for surface, concept_id in ents:
        start = text.index(surface)
        spans.append(doc.char_span(start, start + len(surface), label="ENTITY", kb_id=concept_id))
    doc.ents = spans
    return doc


def make_example(nlp, text, *ents):
    """RETURNS (Example): The entities of `make_doc` as gold, and nothing predicted."""
    return Example(nlp.make_doc(text), make_doc(nlp, text, *ents))


def nickname_examples(nlp):
    """RETURNS (list[Example]): Each nickname in two contexts."""
    return [
        make_example(nlp, template.format(nickname), (nickname, concept_id))
        for nickname, concept_id in NICKNAME_OF.items()
        for template in ("She came in with {} today", "He had severe {}")
    ]


def nickname_links(nlp):
    """RETURNS (dict[str, str]): The id that a pipeline gives each nickname in a new context."""
    found = {}
    for nickname in NICKNAME_OF:
        doc = nlp(f"A patient reported {nickname} last week")
        found.update({ent.text: ent.kb_id_ for ent in doc.ents})
    return found


def train(nlp, examples, steps, *, linker=LINKER, learn_rate=0.01, **kwargs):
    """Initialize nothing; update a pipeline on all examples at once, some times.

    RETURNS (list[float]): The linker's loss of each step.
    """
    optimizer = nlp.create_optimizer()
    optimizer.learn_rate = learn_rate
    history = []
    for _ in range(steps):
        losses = {}
        nlp.update(examples, sgd=optimizer, losses=losses, **kwargs)
        history.append(losses[linker])
    return history


def links(docs):
    """RETURNS (list[list[tuple]]): Start, id and candidates of each entity of each document."""
    docs = [docs] if isinstance(docs, Doc) else docs
    return [
        [
            (ent.start, ent.kb_id_, [(cid, round(score, 5)) for cid, score in ent._.kb_ents])
            for ent in doc.ents
        ]
        for doc in docs
    ]


def set_ents(doc, *spans):
    """Set entities of (start, end) tokens. RETURNS (Doc): The same document."""
    doc.ents = [Span(doc, start, end, label="ENTITY") for start, end in spans]
    return doc


def wake_ner(nlp):
    """Give the recognizer's last layer weights: it starts at zero, and sends no gradient."""
    rng = np.random.default_rng(0)
    for node in nlp.get_pipe("ner").model.walk():
        if node.has_param("W") and not node.get_param("W").any():
            W = rng.standard_normal(node.get_param("W").shape).astype("float32")
            node.set_param("W", W)


def write_jsonl(path, entities=VOCABULARY):
    """Write a vocabulary in scispaCy's format."""
    srsly.write_jsonl(path, [entity._asdict() for entity in entities])


def write_pubtator(path):
    """Write 12 documents in which another name tells which of two namesakes is meant."""
    cases = [("cold", "C03", "acute coryza"), ("cold", "C04", "coldness")]
    cases += [("MI", "C01", "heart attack"), ("MI", "C02", "mitral regurgitation")]
    lines = []
    for i in range(12):
        name, cid, other = cases[i % 4]
        text = f"Report {i} is of {name} and then of {other}"
        lines += [f"{i}|t|{text}", f"{i}|a|"]
        for surface in (name, other):
            start = text.index(surface, 7)
            lines.append(f"{i}\t{start}\t{start + len(surface)}\t{surface}\tX\t{cid}")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf8")
