"""A transformer for spaCy that computes in half the precision, and keeps its weights whole."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from spacy.util import SimpleFrozenDict

if TYPE_CHECKING:
    from spacy_transformers.layers import TransformerModel


def build_bfloat16_transformer(
    name: str,
    get_spans: Callable,
    tokenizer_config: dict[str, Any] = SimpleFrozenDict(),  # noqa: B008
    transformer_config: dict[str, Any] = SimpleFrozenDict(),  # noqa: B008
    mixed_precision: bool = False,
    grad_scaler_config: dict[str, Any] = SimpleFrozenDict(),  # noqa: B008
) -> "TransformerModel":
    """Construct a transformer that multiplies in bfloat16 (`spacy_metric_el.BFloat16TransformerModel.v1`).

    In place of `spacy-transformers.TransformerModel.v3` in [components.transformer.model],
    to link and to train: processors that multiply bfloat16 themselves (AMX or AVX512-BF16)
    take half the time or less. On others it is slower, and on a GPU nothing changes:
    `mixed_precision` of the other architecture is for these. Weights, outputs and gradients
    stay float32, so that training needs no scaling. The settings are the same, so that a
    pipeline that was trained with either architecture runs with the other: change its
    config, or load it with that override. A copy that `nlp.replace_listeners` makes
    computes in float32.

    name (str): Of the weights: a folder, or a name on a hub.
    get_spans (Callable): Cuts documents into stretches that the transformer reads.
    tokenizer_config (dict[str, Any]): For the tokenizer.
    transformer_config (dict[str, Any]): For the transformer.
    mixed_precision (bool): On a GPU, as for the other architecture.
    grad_scaler_config (dict[str, Any]): For that, too.
    RETURNS (TransformerModel): As spacy-transformers makes it, with another shim.
    """
    from spacy_transformers.layers import TransformerModel

    from .bfloat16 import BFloat16Shim

    model = TransformerModel(
        name,
        get_spans,
        dict(tokenizer_config),
        dict(transformer_config),
        mixed_precision=mixed_precision,
        grad_scaler_config=dict(grad_scaler_config),
    )
    (layer,) = model.layers
    plain: Any = layer.shims[0]
    layer.shims[0] = BFloat16Shim(
        plain._hfmodel,
        mixed_precision=mixed_precision,
        grad_scaler_config=dict(grad_scaler_config),
    )
    return model
