"""Named stages of linking, whose time can be recorded; unrecorded, they cost next to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType

_recorder: "StageRecorder | None" = None


class StageRecorder:
    """Adds up the seconds of stages; one inside another counts without it.

    seconds (dict[str, float]): By the names of stages, in the order that they were first left.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        # For each stage that is under way: when it began, and the seconds of those inside.
        self._open: list[list[float]] = []

    def begin(self) -> None:
        """Begin a stage."""
        self._open.append([perf_counter(), 0.0])

    def end(self, name: str) -> None:
        """End the stage that began last."""
        started, inside = self._open.pop()
        took = perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + took - inside
        if self._open:
            self._open[-1][1] += took


class stage:  # noqa: N801 - it reads as a statement: `with stage("search"):`
    """Marks a stage; a context manager that does nothing unless `record_stages` is under way.

    name (str): What the stage is called.
    """

    __slots__ = ("name", "recorder")

    def __init__(self, name: str) -> None:
        self.name = name
        self.recorder = _recorder

    def __enter__(self) -> None:
        if self.recorder is not None:
            self.recorder.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.recorder is not None:
            self.recorder.end(self.name)


@contextmanager
def record_stages() -> Iterator[dict[str, float]]:
    """Record the stages of all linking inside, in this process and on one thread.

    YIELDS (dict[str, float]): The seconds of each stage that was left, by its name; it grows
        as long as the context lasts.
    """
    global _recorder
    outer, _recorder = _recorder, StageRecorder()
    try:
        yield _recorder.seconds
    finally:
        _recorder = outer
