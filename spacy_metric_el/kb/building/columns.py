"""Columns of a table that grow on disk, and are one Arrow array at the end.

An Arrow file whose columns are one chunk each is looked up without copying. To write one,
a table must exist as a whole; here it exists as mapped files, not in memory.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa


class GrowingTable:
    """A table that is filled batch by batch.

    schema (pa.Schema): Of numbers, large strings, and large lists of either.
    folder (Path): Gets the files, several for each column.
    """

    def __init__(self, schema: pa.Schema, folder: Path) -> None:
        self.schema = schema
        self.n_rows = 0
        self._files = ExitStack()
        self._columns = [_column(field.type, folder / field.name, self._files) for field in schema]

    def append(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows.

        batch (pa.RecordBatch | pa.Table): With the columns of the schema, in its order.
        """
        for column, values, field in zip(self._columns, batch.columns, self.schema, strict=True):
            chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
            for chunk in chunks:
                column.append(chunk.cast(field.type))
        self.n_rows += batch.num_rows

    def finish(self) -> pa.Table:
        """RETURNS (pa.Table): All rows, one chunk a column, over mapped files: they must outlive it."""
        self.close()
        arrays = [column.finish() for column in self._columns]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def close(self) -> None:
        """Close the files; no rows can be added then."""
        self._files.close()


class _Buffer:
    """A file that bytes are added to, mapped at the end."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        self.path = path
        self._file: BinaryIO = files.enter_context(path.open("wb"))

    def write(self, content: Iterable[memoryview | bytes]) -> None:
        """Add bytes."""
        self._file.writelines(content)

    def finish(self) -> pa.Buffer:
        """RETURNS (pa.Buffer): All bytes, mapped."""
        if not self.path.stat().st_size:
            return pa.py_buffer(b"")
        return pa.memory_map(str(self.path), "r").read_buffer()


class _Fixed:
    """Numbers without gaps."""

    def __init__(self, type: pa.DataType, path: Path, files: ExitStack) -> None:
        self.type, self.length = type, 0
        self._values = _Buffer(path.with_suffix(".values"), files)

    def append(self, array: pa.Array) -> None:
        """Add the values of an array."""
        self._values.write([np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).data])
        self.length += len(array)

    def finish(self) -> pa.Array:
        """RETURNS (pa.Array): All values, over a mapped file."""
        buffer = self._values.finish()
        if pa.types.is_boolean(self.type):
            # One byte each while they grow, one bit in Arrow.
            return pa.array(np.frombuffer(buffer, dtype=bool), self.type)
        return pa.Array.from_buffers(self.type, self.length, [None, buffer])


class _Nested:
    """Strings or lists: where each ends, and what is in them."""

    def __init__(self, type: pa.DataType, path: Path, files: ExitStack) -> None:
        self.type, self.length, self.n_values, self.n_nulls = type, 0, 0, 0
        self._offsets = _Buffer(path.with_suffix(".offsets"), files)
        self._offsets.write([np.zeros(1, dtype=np.int64).data])
        self._is_valid = _Buffer(path.with_suffix(".valid"), files)
        self._text = self._items = None
        if pa.types.is_large_list(type):
            self._items = _column(type.value_type, path.with_name(f"{path.name}-items"), files)
        else:
            self._text = _Buffer(path.with_suffix(".text"), files)

    def append(self, array: pa.Array) -> None:
        """Add the strings or lists of an array."""
        offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)
        offsets = offsets[array.offset : array.offset + len(array) + 1]
        start, end = (int(offsets[0]), int(offsets[-1])) if len(array) else (0, 0)
        if self._items is not None:
            self._items.append(array.values[start:end])
        elif self._text is not None and end > start:
            self._text.write([memoryview(array.buffers()[2])[start:end]])
        self._offsets.write([np.ascontiguousarray(offsets[1:] - start + self.n_values).data])
        self._is_valid.write([array.is_valid().to_numpy(zero_copy_only=False).data])
        self.length += len(array)
        self.n_values += end - start
        self.n_nulls += array.null_count

    def finish(self) -> pa.Array:
        """RETURNS (pa.Array): All strings or lists, over mapped files."""
        is_valid = self._is_valid.finish()
        bits = np.packbits(np.frombuffer(is_valid, dtype=bool), bitorder="little")
        validity = pa.py_buffer(bits) if self.n_nulls else None
        offsets = self._offsets.finish()
        if self._text is not None:
            buffers = [validity, offsets, self._text.finish()]
            return pa.Array.from_buffers(self.type, self.length, buffers, self.n_nulls)
        items = [self._items.finish()] if self._items is not None else []
        return pa.Array.from_buffers(
            self.type, self.length, [validity, offsets], self.n_nulls, children=items
        )


def _column(type: pa.DataType, path: Path, files: ExitStack) -> _Fixed | _Nested:
    is_nested = pa.types.is_large_string(type) or pa.types.is_large_list(type)
    return (_Nested if is_nested else _Fixed)(type, path, files)
