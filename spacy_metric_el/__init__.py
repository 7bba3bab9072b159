"""A trainable dense entity linker for spaCy pipelines.

The names below are what other programs build on. Each is imported when it is first asked for:
`import spacy_metric_el` by itself loads neither spaCy nor FAISS nor PyTorch.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .kb.entity import Entity
    from .kb.knowledge_base import FaissKnowledgeBase
    from .pipeline.linker import MetricEntityLinker

    __version__: str

__all__ = ["Entity", "FaissKnowledgeBase", "MetricEntityLinker", "__version__", "load_kb"]

_HOMES = {
    "Entity": ".kb.entity",
    "FaissKnowledgeBase": ".kb.knowledge_base",
    "MetricEntityLinker": ".pipeline.linker",
}


def load_kb(path: str | Path) -> "FaissKnowledgeBase":
    """Open a knowledge base. Its files are mapped, not read.

    path (str | Path): A folder made by `spacy metric-el kb build`.
    RETURNS (FaissKnowledgeBase): The knowledge base, with the vectors that lie in the folder;
        `linker.load_kb(path)` opens one for a linker, and makes its own vectors.
    RAISES (MetricELError): E132 for a folder that is none, E133 to E135 for one that is damaged
        or of another version.
    """
    from .kb.loader import KBFromDisk

    return KBFromDisk(path)()


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        from importlib.metadata import version

        value = version("spacy-metric-el")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # The next time it is there.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
