"""Sorting more rows than fit into memory: sorted runs on disk, merged range by range."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import Errors, MetricELError

SAMPLES_PER_RUN = 4_096
"""First keys of each run that say where ranges may be cut."""


class RowSorter:
    """Takes rows as they come, and gives them back in order.

    Rows are held until they fill their share of memory, then sorted and written as a
    run. At the end the runs are cut at the same keys, and the parts between two cuts,
    one of each run, are sorted together: they fill no more than a run does, unless that
    many rows have one and the same first key.

    schema (pa.Schema): Of the rows.
    order (Sequence[str]): Columns to sort by, ascending.
    folder (Path): Made for the runs, if there are any; whoever made its parent removes it.
    memory (int): Bytes of rows that are held. Sorting takes twice as many.
    """

    def __init__(
        self, schema: pa.Schema, order: Sequence[str], folder: Path, *, memory: int
    ) -> None:
        self.schema, self.order, self.folder, self.memory = schema, list(order), folder, memory
        self.n_rows = self._held_bytes = 0
        self._held: list[pa.Table] = []
        self._runs: list[pa.Table] = []

    def add(self, rows: Sequence[tuple]) -> None:
        """Take rows, each a value for each column. RAISES (MetricELError): E140 if they cannot be written."""
        columns = zip(zip(*rows, strict=True), self.schema, strict=True)
        arrays = [pa.array(values, field.type) for values, field in columns]
        self._held.append(pa.Table.from_arrays(arrays, schema=self.schema))
        self.n_rows += len(rows)
        self._held_bytes += self._held[-1].nbytes
        if self._held_bytes > self.memory:
            self._write_run()

    def read(self, size: int) -> Iterator[pa.RecordBatch]:
        """YIELDS (pa.RecordBatch): All rows in order, at most so many at a time; they are gone then."""
        if self._runs:
            self._write_run()
        cuts = self._cuts()
        places = [[0, *(_place(run, self.order[0], cut) for cut in cuts)] for run in self._runs]
        for i in range(len(cuts) + 1 if self._runs else 0):
            parts = [
                run.slice(at[i], (at[i + 1] if i < len(cuts) else run.num_rows) - at[i])
                for run, at in zip(self._runs, places, strict=True)
            ]
            yield from self._sorted(parts).to_batches(size)
        if not self._runs:
            yield from self._sorted([self.schema.empty_table(), *self._held]).to_batches(size)
        self.close()

    def close(self) -> None:
        """Let go of all rows, and of the files that they are in."""
        self._held.clear()
        self._runs.clear()

    def _sorted(self, tables: Sequence[pa.Table]) -> pa.Table:
        return pa.concat_tables(tables).sort_by([(name, "ascending") for name in self.order])

    def _write_run(self) -> None:
        if not self._held:
            return
        path = str(self.folder / f"{len(self._runs)}.arrow")
        with _coded_errors():
            self.folder.mkdir(exist_ok=True)
            table = self._sorted(self._held)
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, self.schema) as writer:
                writer.write_table(table)
            self._held.clear()
            self._held_bytes = 0
            mapped = pa.BufferReader(pa.memory_map(path, "r").read_buffer())
            self._runs.append(pa.ipc.open_file(mapped).read_all())

    def _cuts(self) -> list[Any]:
        """RETURNS (list[Any]): Values of the first column, one for each run but the first, that part the rows evenly."""
        samples: list[Any] = []
        # A sample stands for about as many rows, whatever run it is of.
        step = max(1, self.n_rows // (SAMPLES_PER_RUN * max(len(self._runs), 1)))
        for run in self._runs:
            column = run[self.order[0]]
            samples += (column[i].as_py() for i in range(0, run.num_rows, step))
        samples.sort()
        n_parts = len(self._runs)
        found = (samples[len(samples) * i // n_parts] for i in range(1, n_parts))
        return list(dict.fromkeys(found))


def _place(run: pa.Table, name: str, value: Any) -> int:
    column = run[name]
    return bisect_left(range(len(column)), value, key=lambda i: column[i].as_py())


@contextmanager
def _coded_errors() -> Iterator[None]:
    """RAISES (MetricELError): E140 if rows cannot be written: the disk is full."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise MetricELError(Errors.E140.format(reason=" ".join(str(error).split()))) from error
