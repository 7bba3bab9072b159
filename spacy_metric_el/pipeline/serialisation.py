"""The parts of a saved linker that are its own: the state, and the knowledge base.

Vocabulary and model are saved as spaCy saves those of any component. The part `cfg`
is what the config does not say, the part `ranker` is there if one was fitted, and
the part `kb` if the knowledge base goes along.
"""

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from spacy import util
from spacy.vocab import Vocab
from thinc.api import Model

from ..errors import Errors, MetricELError
from .settings import restore_changes, settings_changed

if TYPE_CHECKING:
    from ..kb import FaissKnowledgeBase
    from .linker import MetricEntityLinker

logger = logging.getLogger("spacy_metric_el")

STATE = "cfg"
KB = "kb"
RANKER = "ranker"


def refresh_before_saving(linker: "MetricEntityLinker") -> None:
    """Bring vectors that go along up to date, if training has left them behind.

    linker (MetricEntityLinker): Without a pipeline, its vectors stay as they are.
    """
    kb = _carried_kb(linker)
    has_vectors = kb is not None and kb.vectors is not None
    if has_vectors and linker.encoder.upstream.pipeline() is not None:
        linker.refresh_vectors(progress=True)


def write_parts(linker: "MetricEntityLinker", path: str | Path, exclude: Collection[str]) -> None:
    """Write the parts into the component's folder.

    linker (MetricEntityLinker): The linker.
    path (str | Path): The folder; made where it is missing.
    exclude (Collection[str]): Parts to leave out.
    """
    writers: dict[str, Callable] = {STATE: lambda p: srsly.write_json(p, _state(linker))}
    if (learned := linker.ranker_slot.state) is not None:
        writers[RANKER] = lambda p: srsly.write_msgpack(p, learned)
    if (kb := _carried_kb(linker)) is not None:
        writers[KB] = kb.to_disk
    util.to_disk(path, writers, exclude)


def read_parts(linker: "MetricEntityLinker", path: str | Path, exclude: Collection[str]) -> None:
    """Read the parts from the component's folder; the knowledge base is mapped, not read.

    linker (MetricEntityLinker): Takes them.
    path (str | Path): The folder.
    exclude (Collection[str]): Parts to pass over.
    RAISES (MetricELError): E132 to E135 for a damaged knowledge base in the folder.
    """
    from ..kb import FaissKnowledgeBase

    restore_ranker = linker.ranker_slot.restore
    readers: dict[str, Callable] = {
        STATE: lambda p: _restore(linker, srsly.read_json(p), open_kb=KB not in exclude),
        RANKER: lambda p: restore_ranker(srsly.read_msgpack(p) if p.is_file() else None),
        KB: lambda p: linker.set_kb(FaissKnowledgeBase.from_disk(p)) if p.is_dir() else None,
    }
    util.from_disk(path, readers, exclude)


def pack_parts(linker: "MetricEntityLinker", pipe: bytes, exclude: Collection[str]) -> bytes:
    """Add the parts to what spaCy packs of any component.

    linker (MetricEntityLinker): The linker.
    pipe (bytes): Its vocabulary and model, as `TrainablePipe.to_bytes` gives them.
    exclude (Collection[str]): Parts to leave out.
    RETURNS (bytes): All parts.
    """
    getters: dict[str, Callable] = {STATE: lambda: srsly.json_dumps(_state(linker))}
    if (learned := linker.ranker_slot.state) is not None:
        getters[RANKER] = lambda: srsly.msgpack_dumps(learned)
    if (kb := _carried_kb(linker)) is not None:
        getters[KB] = kb.to_bytes
    return srsly.msgpack_dumps({**srsly.msgpack_loads(pipe), **util.to_dict(getters, exclude)})


def unpack_parts(linker: "MetricEntityLinker", data: bytes, exclude: Collection[str]) -> None:
    """Take the parts from what `pack_parts` returned.

    linker (MetricEntityLinker): Takes them.
    data (bytes): All parts.
    exclude (Collection[str]): Parts to pass over.
    """
    from ..kb import FaissKnowledgeBase

    restore_ranker = linker.ranker_slot.restore
    if RANKER not in exclude:
        # Setters are called for parts that are there alone.
        restore_ranker(None)
    setters: dict[str, Callable] = {
        STATE: lambda b: _restore(linker, srsly.json_loads(b), open_kb=KB not in exclude),
        RANKER: lambda b: restore_ranker(srsly.msgpack_loads(b)),
        KB: lambda b: linker.set_kb(FaissKnowledgeBase.from_bytes(b)),
    }
    util.from_bytes(data, setters, exclude)


def rebuild_linker(
    kind: "type[MetricEntityLinker]",
    vocab: Vocab,
    model: Model,
    name: str,
    settings: dict[str, Any],
    kb: "FaissKnowledgeBase | None",
    learned: dict[str, Any] | None,
) -> "MetricEntityLinker":
    """Make a linker again in another process.

    kind (type[MetricEntityLinker]): Its class.
    vocab (Vocab): The pipeline's vocabulary.
    model (Model): The metric encoder.
    name (str): Name of the component.
    settings (dict[str, Any]): The other arguments of the class.
    kb (FaissKnowledgeBase | None): Its knowledge base.
    learned (dict[str, Any] | None): What its ranker has learned.
    RETURNS (MetricEntityLinker): In no pipeline yet.
    """
    linker = kind(vocab, model, name, **settings)
    linker.ranker_slot.restore(learned)
    if kb is not None:
        linker.set_kb(kb)
    return linker


def _carried_kb(linker: "MetricEntityLinker") -> "FaissKnowledgeBase | None":
    return linker.kb_slot.kb if linker.cfg["carry_kb"] else None


def _state(linker: "MetricEntityLinker") -> dict[str, Any]:
    """What the config does not say: settings changed at run time, and learned state."""
    slot = linker.kb_slot
    return {
        "changed": settings_changed(linker.cfg, linker.configured),
        "loss": linker.loss.to_dict() if linker.loss is not None else None,
        "kb_path": slot.missing if linker.cfg["carry_kb"] else slot.place(),
    }


def _restore(linker: "MetricEntityLinker", saved: dict[str, Any], *, open_kb: bool) -> None:
    from ..kb import FaissKnowledgeBase

    restore_changes(linker.cfg, linker.configured, saved.get("changed", {}))
    if saved["loss"] is not None and linker.loss is not None:
        linker.loss.from_dict(saved["loss"])
    path = linker.kb_slot.missing = saved["kb_path"]
    if path is not None and open_kb:
        try:
            linker.set_kb(FaissKnowledgeBase.from_disk(path))
        except MetricELError as err:
            logger.warning("%s (%s)", Errors.E010.format(path=path), err)
