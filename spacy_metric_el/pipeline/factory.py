"""The factory `metric_entity_linker`. Nothing heavy is imported here: spaCy loads every
installed plugin's factories whenever a pipeline is made."""

from collections.abc import Callable
from typing import Any

from spacy.language import Language
from thinc.api import Config, Model

from .linker import MetricEntityLinker

DEFAULT_CONFIG = """
[metric_entity_linker]
overwrite = true
use_gold_ents = true
labels_discard = []
threshold = null
nil = "NIL"
top_k = 10
search_rows = 64
prior_weight = 0.01
use_labels = false
prototype_radius = 0.8
prototypes_per_entity = 4
memory_weight = 1.0
memory_scale = 8.0
learn_rate_factor = 1.0
names_per_entity = 3
negatives_per_entity = 4
entity_rows = false
carry_kb = true
seed = 0

[metric_entity_linker.loss]
@losses = "spacy_metric_el.PrototypeTriplet.v1"

[metric_entity_linker.scorer]
@scorers = "spacy_metric_el.linking_scorer.v1"

[metric_entity_linker.model]
@architectures = "spacy_metric_el.MetricEncoder.v1"

[metric_entity_linker.model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 96
depth = 2
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true
"""


@Language.factory(
    "metric_entity_linker",
    assigns=["token.ent_kb_id", "span._.kb_ents"],
    requires=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config=Config().from_str(DEFAULT_CONFIG)["metric_entity_linker"],
    default_score_weights={
        "el_acc": 1.0,
        "el_acc_in_kb": None,
        "el_recall_at_5": None,
        "el_recall_at_64": None,
        "el_mrr": None,
        "el_ece": None,
        "nel_micro_p": None,
        "nel_micro_r": None,
        "nel_micro_f": None,
    },
)
def make_metric_entity_linker(
    nlp: Language,
    name: str,
    model: Model,
    loss: Any,
    scorer: Callable | None,
    overwrite: bool,
    use_gold_ents: bool,
    labels_discard: list[str],
    threshold: float | None,
    nil: str,
    top_k: int,
    search_rows: int,
    prior_weight: float,
    use_labels: bool,
    prototype_radius: float,
    prototypes_per_entity: int,
    memory_weight: float,
    memory_scale: float,
    learn_rate_factor: float,
    names_per_entity: int,
    negatives_per_entity: int,
    entity_rows: bool,
    carry_kb: bool,
    seed: int,
) -> MetricEntityLinker:
    """Construct the linker. See `MetricEntityLinker` for the settings."""
    return MetricEntityLinker(
        nlp.vocab,
        model,
        name,
        nlp=nlp,
        loss=loss,
        scorer=scorer,
        overwrite=overwrite,
        use_gold_ents=use_gold_ents,
        labels_discard=labels_discard,
        threshold=threshold,
        nil=nil,
        top_k=top_k,
        search_rows=search_rows,
        prior_weight=prior_weight,
        use_labels=use_labels,
        prototype_radius=prototype_radius,
        prototypes_per_entity=prototypes_per_entity,
        memory_weight=memory_weight,
        memory_scale=memory_scale,
        learn_rate_factor=learn_rate_factor,
        names_per_entity=names_per_entity,
        negatives_per_entity=negatives_per_entity,
        entity_rows=entity_rows,
        carry_kb=carry_kb,
        seed=seed,
    )
