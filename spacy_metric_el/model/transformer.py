"""A transformer for spaCy that computes in half the precision, and keeps its weights whole."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacy_transformers.layers import TransformerModel


def build_bfloat16_transformer(
    name: str,
    get_spans: Callable,
    tokenizer_config: dict[str, Any] | None = None,
    transformer_config: dict[str, Any] | None = None,
) -> "TransformerModel":
    """Construct a transformer that multiplies in bfloat16 (`spacy_metric_el.BFloat16TransformerModel.v1`).

    In place of `spacy-transformers.TransformerModel.v3` in [components.transformer.model],
    to link and to train: processors that multiply bfloat16 themselves (AMX or AVX512-BF16)
    take half the time or less. On others it is slower, and on a GPU nothing changes:
    `mixed_precision` of the other architecture is for these. Weights, outputs and gradients
    stay float32, so that training needs no scaling, and a pipeline that was trained with
    either architecture runs with the other. A copy that `nlp.replace_listeners` makes
    computes in float32.

    name (str): Of the weights: a folder, or a name on a hub.
    get_spans (Callable): Cuts documents into stretches that the transformer reads.
    tokenizer_config (dict[str, Any] | None): For the tokenizer.
    transformer_config (dict[str, Any] | None): For the transformer.
    RETURNS (TransformerModel): As spacy-transformers makes it, with another shim.
    """
    from spacy_transformers.layers import TransformerModel

    from .bfloat16 import BFloat16Shim

    model = TransformerModel(name, get_spans, tokenizer_config or {}, transformer_config or {})
    (layer,) = model.layers
    plain: Any = layer.shims[0]
    layer.shims[0] = BFloat16Shim(plain._hfmodel)
    return model
