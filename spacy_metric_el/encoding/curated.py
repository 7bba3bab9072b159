"""The way of name documents through a transformer of spacy-curated-transformers."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d, Ragged


def predict_curated(component: Any, listener: Model, docs: list[Doc]) -> list[Floats2d]:
    """Encode documents that the pipeline has not seen.

    component (Any): The `CuratedTransformer` that the listener listens to.
    listener (Model): Returns token vectors.
    docs (list[Doc]): Documents with tokens; get the transformer's output.
    RETURNS (list[Floats2d]): Token vectors, (tokens, width) each.
    """
    component.set_annotations(docs, component.predict(docs))
    return listener.predict(docs)


def begin_update_curated(
    component: Any, listener: Model, docs: list[Doc]
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], Any]]:
    """Encode documents that the pipeline has not seen, with a way back for the gradient.

    The listener is lent the documents' batch, and gets back the one that it had.

    component (Any): The `CuratedTransformer` that the listener listens to.
    listener (Model): Returns token vectors.
    docs (list[Doc]): Documents with tokens.
    RETURNS (tuple[list[Floats2d], Callable]): Token vectors, (tokens, width) each, and
        the function from their gradient that adds to the gradients of the listener's
        layers and of the transformer, unless that has `frozen = true`.
    """
    from spacy_curated_transformers.models.listeners import ListenerStateUtils

    ops, state = listener.ops, listener.attrs["_state"]
    kept = (state.batch_id, state.outputs, state.backprop)
    if component.frozen:
        outputs, backprop_outputs = component.predict(docs), None
    else:
        outputs, backprop_outputs = component.model.begin_update(docs)

    def send(d_layers: list[list[Ragged]], outputs_to_backprop: tuple[int, ...]) -> Any:
        if backprop_outputs is None:
            return []
        d_outputs = [
            [Ragged(ops.alloc_f(layer.dataXd.shape), layer.lengths) for layer in layers]
            for layers in outputs.all_outputs
        ]
        for d_doc, d_doc_layers in zip(d_outputs, d_layers, strict=True):
            for i in outputs_to_backprop:
                d_doc[i].data += d_doc_layers[i].data
        return backprop_outputs(d_outputs)

    batch_id = ListenerStateUtils.calculate_batch_id(docs)
    ListenerStateUtils.receive(listener, batch_id, outputs, send)
    try:
        return listener.begin_update(docs)
    finally:
        ListenerStateUtils.receive(listener, *kept)
