"""The way to the live encoder for names.

Mentions come through the component's listener. Names are no documents of the
pipeline, so they take the direct way: through the very model the listener listens
to, and the layers behind the listener. The upstream model is looked up, never
owned: as a sublayer it would be saved twice, and trained though frozen.
"""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..errors import Errors, MetricELError
from ..model.listeners import find_listener, is_curated, is_frozen, missing_states, upstream_name
from .curated import begin_update_curated, predict_curated

TokvecsAndBackprop = tuple[list[Floats2d], Callable[[list[Floats2d]], Any] | None]


class Upstream:
    """Finds the component that a linker listens to, and runs its live model on name documents.

    component (Any): The linker, or whatever listens; only `name` and its place in a pipeline
        are used. Held weakly.
    nlp (Language | None): The pipeline, held weakly: a component can be moved to another.
    """

    def __init__(self, component: Any, nlp: Language | None = None) -> None:
        self._component = weakref.ref(component)
        self._nlp = weakref.ref(nlp) if nlp is not None else None
        self._foreign = 0

    def set_pipeline(self, nlp: Language | None) -> None:
        """Remember the pipeline that the linker stands in."""
        if nlp is not None:
            self._nlp = weakref.ref(nlp)

    @property
    def component_name(self) -> str:
        """RETURNS (str): Name of the linker, for messages."""
        return getattr(self._component(), "name", "")

    def pipeline(self) -> Language | None:
        """RETURNS (Language | None): The pipeline that holds the linker now.

        A sourced component is the same object in a new pipeline, and nothing tells
        it so: when the remembered pipeline is gone or no longer holds the linker,
        the living pipelines are searched.
        """
        nlp = self._nlp() if self._nlp is not None else None
        if nlp is not None and self._stands_in(nlp):
            return nlp
        for candidate in _living_pipelines():
            if self._stands_in(candidate):
                self.set_pipeline(candidate)
                return candidate
        return None

    def follow(self, docs: Sequence[Doc]) -> None:
        """Turn to the pipeline that documents come from.

        A sourced linker stands in two pipelines; the vocabulary of the documents
        tells which one is at work.

        docs (Sequence[Doc]): Of one pipeline.
        """
        vocab = docs[0].vocab if docs else None
        nlp = self._nlp() if self._nlp is not None else None
        is_known = nlp is not None and nlp.vocab is vocab
        if vocab is None or is_known or id(vocab) == self._foreign:
            return
        for candidate in _living_pipelines():
            if candidate.vocab is vocab and self._stands_in(candidate):
                self.set_pipeline(candidate)
                return
        # Documents made by hand: their vocabulary is nobody's, and need not be looked for again.
        self._foreign = id(vocab)

    def component(self, listener: Model) -> Any:
        """Find the upstream component of a listener.

        RETURNS (Any): A Tok2Vec or Transformer component.
        RAISES (MetricELError): E002 if no pipeline holds the linker, or none of its
            components feeds the listener.
        """
        nlp = self.pipeline()
        # Of several that a wildcard names, the last one sets what the listener sees.
        for name, pipe in reversed(nlp.components if nlp is not None else ()):
            if upstream_name(listener) not in ("*", name):
                continue
            if any(node is listener for node in getattr(pipe, "listeners", ())):
                return pipe
        raise MetricELError(Errors.E002.format(name=self.component_name))

    def begin_update(self, tok2vec: Model, docs: list[Doc]) -> TokvecsAndBackprop:
        """Encode name documents with a way back for the gradient.

        tok2vec (Model): The linker's tok2vec layer.
        docs (list[Doc]): Name documents, none of them empty.
        RETURNS (TokvecsAndBackprop): Token vectors, and the function from their gradient
            that adds to the upstream's own gradients; None if the upstream is frozen.
        """
        listener = find_listener(tok2vec)
        if listener is None:
            return tok2vec.begin_update(docs)
        if is_frozen(listener):
            return self.predict(tok2vec, docs), None
        return self._forward(tok2vec, listener, docs, is_train=True)

    def predict(self, tok2vec: Model, docs: list[Doc]) -> list[Floats2d]:
        """Encode name documents.

        tok2vec (Model): The linker's tok2vec layer.
        docs (list[Doc]): Name documents, none of them empty.
        RETURNS (list[Floats2d]): Token vectors, (tokens, width) each.
        """
        listener = find_listener(tok2vec)
        if listener is None:
            return tok2vec.predict(docs)
        return self._forward(tok2vec, listener, docs, is_train=False)[0]

    def models(self, tok2vec: Model) -> list[Model]:
        """RETURNS (list[Model]): The model that is listened to; none if tok2vec is its own."""
        listener = find_listener(tok2vec)
        return [] if listener is None else [self.component(listener).model]

    def load_frozen(self, tok2vec: Model) -> None:
        """Load the weights of a transformer that training is to leave as it is.

        spaCy initializes no frozen component: one of a trained pipeline has its weights.
        A transformer that a config names has yet to read them.

        tok2vec (Model): The linker's tok2vec layer.
        RAISES (MetricELError): As `component`.
        """
        listener = find_listener(tok2vec)
        if listener is None or isinstance(listener, Tok2VecListener) or is_curated(listener):
            return
        component, nlp = self.component(listener), self.pipeline()
        is_frozen_component = nlp is not None and all(
            pipe is not component for _, pipe in nlp.pipeline
        )
        if is_frozen_component and component.model.maybe_get_dim("nO") is None:
            component.initialize(list)
            # Tells the listener the width, which it had no weights to learn it from.
            component.find_listeners(self._component())

    def check_states(self, tok2vec: Model, docs: Sequence[Doc]) -> None:
        """Check that documents have been through the upstream.

        tok2vec (Model): The linker's tok2vec layer.
        docs (Sequence[Doc]): The documents.
        RAISES (MetricELError): E003 if one with tokens has not.
        """
        listener = find_listener(tok2vec)
        if listener is not None and missing_states(listener, docs):
            upstream = upstream_name(listener)
            raise MetricELError(Errors.E003.format(name=self.component_name, upstream=upstream))

    def check_precision(self, tok2vec: Model) -> None:
        """Check that an update can send gradients through the weights twice.

        tok2vec (Model): The linker's tok2vec layer.
        RAISES (MetricELError): E006 for mixed precision, unless the upstream is frozen.
        """
        listener = find_listener(tok2vec)
        if listener is not None and is_frozen(listener):
            return
        if uses_mixed_precision([tok2vec, *self.models(tok2vec)]):
            raise MetricELError(Errors.E006.format(name=self.component_name))

    def _stands_in(self, nlp: Language) -> bool:
        linker = self._component()
        return any(pipe is linker for _, pipe in nlp.components)

    def _forward(
        self, tok2vec: Model, listener: Model, docs: list[Doc], *, is_train: bool
    ) -> TokvecsAndBackprop:
        component = self.component(listener)
        model = component.model
        if is_curated(listener):
            if not is_train:
                return predict_curated(component, listener, docs), None
            return begin_update_curated(component, listener, docs)
        if isinstance(listener, Tok2VecListener):
            return model(docs, is_train)
        # A transformer's listener is followed by the layers that pool wordpieces.
        full, backprop_full = model(docs, is_train)
        outputs: Any = full.doc_data
        backprops = []
        for layer in _layers_behind(tok2vec, listener):
            outputs, backprop_layer = layer(outputs, is_train)
            backprops.append(backprop_layer)

        def backprop(d_outputs: Any) -> Any:
            for backprop_layer in reversed(backprops):
                d_outputs = backprop_layer(d_outputs)
            return backprop_full(full.unsplit_by_doc([list(d.tensors) for d in d_outputs]))

        return outputs, backprop


def has_weights(models: Sequence[Model]) -> bool:
    """RETURNS (bool): Whether every parameter of the models is there, as after `initialize`."""
    return all(
        node.has_param(name)
        for model in models
        for node in model.walk()
        for name in node.param_names
    )


def _living_pipelines() -> Iterator[Language]:
    # Not isinstance: it asks `__class__`, and some libraries' lazy objects warn at that.
    return (obj for obj in gc.get_objects() if issubclass(type(obj), Language))


def uses_mixed_precision(models: Sequence[Model]) -> bool:
    """RETURNS (bool): Whether any PyTorch layer scales its gradients (mixed precision)."""
    return any(
        bool(getattr(shim, "_mixed_precision", False))
        for model in models
        for node in model.walk()
        for shim in node.shims
    )


def _layers_behind(tok2vec: Model, listener: Model) -> list[Model]:
    if tok2vec is listener:
        return []
    position = next(i for i, layer in enumerate(tok2vec.layers) if layer is listener)
    return list(tok2vec.layers[position + 1 :])
