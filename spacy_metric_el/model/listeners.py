"""Listeners: layers that stand for another component's output, of spaCy, spacy-transformers and
spacy-curated-transformers. Those of the latter are known by their attributes, so that the
package need not be installed.
"""

from collections.abc import Sequence

from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from thinc.api import Model


def find_listener(tok2vec: Model) -> Model | None:
    """RETURNS (Model | None): The listener inside a tok2vec layer; None if it is a model of its own."""
    for node in tok2vec.walk():
        is_listener = isinstance(node, Tok2VecListener) or node.name == "transformer-listener"
        if is_listener or is_curated(node):
            return node
    return None


def is_frozen(listener: Model) -> bool:
    """RETURNS (bool): Whether the upstream has sent nothing for this update (frozen, or cleared)."""
    if is_curated(listener):
        return not has_batch(listener)
    return getattr(listener, "_batch_id", None) is None


def upstream_name(listener: Model) -> str:
    """RETURNS (str): The name of the component that a listener asks for, or `*`."""
    if is_curated(listener):
        return curated_upstream_name(listener)
    return getattr(listener, "upstream_name", "*")


def release(listener: Model) -> None:
    """Let go of what the upstream sent for an update.

    A `Tok2VecListener` keeps its last batch: it could not be pickled, and once its
    upstream is frozen it would still ask for the old batch.
    """
    if isinstance(listener, Tok2VecListener):
        listener.receive(None, None, None)  # type: ignore[arg-type]


def missing_states(listener: Model, docs: Sequence[Doc]) -> bool:
    """RETURNS (bool): Whether a document with tokens has not been through the upstream."""
    if isinstance(listener, Tok2VecListener):
        return any(len(doc) and not doc.tensor.size for doc in docs)
    return any(len(doc) and (doc._.trf_data is None) for doc in docs)


def is_curated(node: Model) -> bool:
    """RETURNS (bool): Whether a layer is a listener of spacy-curated-transformers."""
    return "_TRANSFORMER_LISTENER" in node.attrs


def curated_upstream_name(listener: Model) -> str:
    """RETURNS (str): The name of the component that a curated listener asks for, or `*`."""
    return listener.attrs["_upstream_name"]


def has_batch(listener: Model) -> bool:
    """RETURNS (bool): Whether a transformer has sent the curated listener a batch to train with."""
    return listener.attrs["_state"].batch_id is not None


def lacks_batch(tok2vec: Model) -> bool:
    """RETURNS (bool): Whether a tok2vec has a curated listener with nothing to train with: its transformer is frozen."""
    return any(is_curated(node) and not has_batch(node) for node in tok2vec.walk())
