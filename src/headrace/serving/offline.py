"""Score a table that no request could hold: a batch of its rows at a time, each checked as a request's rows are."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.errors import HeadraceError, RunFailed, SignatureError
from headrace.models.lists import column_of, type_of
from headrace.models.params import NO_PARAMS, Params
from headrace.models.rows import batch_of_rows, check_columns
from headrace.models.runtime import Loaded
from headrace.models.signature import Column, Dtype, Signature, Tensor
from headrace.models.version import ModelVersion
from headrace.serving import tuned
from headrace.serving.outputs import checker
from headrace.serving.versions import Model

_FIRST_ROWS = 256
_MOST_ROWS = 8192
_BRISK_S, _SLOW_S = 0.1, 0.5
_TYPES: Mapping[Dtype, pa.DataType] = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64()}


class Scoring:
    """Scores the rows of a table; see ``storage.tables.Through``.

    Args:
        version: The model.
        load: Brings it into memory, once for each pass, where the rows are.
        told: Hears how many rows are done.
        keep: Columns of the table that stay beside the outputs; None for all.
        params: What the model is told besides the rows, checked.
    """

    def __init__(
        self,
        version: ModelVersion,
        load: Callable[[], Model],
        told: Callable[[int], None],
        *,
        keep: Sequence[str] | None = None,
        params: Params = NO_PARAMS,
    ) -> None:
        self._version, self._load, self._told, self._keep = version, load, told, keep
        self._params = params
        self._outputs = version.signature.outputs
        self._check = checker(version.signature)

    def schema(self, given: pa.Schema) -> pa.Schema:
        """The columns kept, then the outputs as the signature names them.

        Raises:
            SignatureError: The table lacks an input, or has a column that is kept and named as an output.
        """
        if not _by_rows(self._version.signature):
            raise SignatureError(
                f"{self._version} does not answer row by row", why="its tensors have no extent -1 first"
            )
        check_columns(self._version.signature, given)
        kept = [given.field(name) for name in self._kept(given)]
        made = [pa.field(o.name, type_of(o) if isinstance(o, Tensor) else _type(o.dtype)) for o in self._outputs]
        return pa.schema([*kept, *made])

    def batches(self, given: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows with their scores.

        Raises:
            SignatureError: A cell that the model does not take; names its column and row.
            RunFailed: The model gave no answer, or one that is not finite; names the rows.
        """
        loaded = self._load().loaded
        model = tuned.told(loaded, self._version.signature, self._params)
        try:
            done, size = 0, _FIRST_ROWS
            for rows in given:
                start, schema = 0, self.schema(rows.schema)
                while start < rows.num_rows:
                    part = rows.slice(start, size)
                    begun = time.monotonic()
                    yield self._scored(model, part, schema, done)
                    start, done = start + part.num_rows, done + part.num_rows
                    size = _paced(size, time.monotonic() - begun)
                    self._told(done)
        finally:
            loaded.close()

    def _kept(self, given: pa.Schema) -> list[str]:
        kept = list(given.names if self._keep is None else self._keep)
        if missing := [name for name in kept if name not in given.names]:
            raise SignatureError(f"no column {missing[0]!r} to keep", why=f"the table has {', '.join(given.names)}")
        if clash := [o.name for o in self._outputs if o.name in kept]:
            others = [name for name in kept if name not in clash]
            raise SignatureError(
                f"column {clash[0]!r} stands in the way of the output of that name",
                fix="keep others: " + " ".join(f"--keep {name}" for name in others[:5]),
            )
        return kept

    def _scored(self, model: Loaded, rows: pa.RecordBatch, schema: pa.Schema, first: int) -> pa.RecordBatch:
        batch = batch_of_rows(rows, self._version.signature, first)
        try:
            answers = self._check(model.score(batch), rows.num_rows)
        except (HeadraceError, ValueError, TypeError, KeyError) as error:
            raise RunFailed(
                f"{self._version} did not score",
                where=f"rows {first} to {first + rows.num_rows - 1}",
                why=str(error),
            ) from error
        kept = [rows.column(name) for name in schema.names[: len(schema) - len(self._outputs)]]
        made = [_column(answers[o.name], schema.field(o.name).type) for o in self._outputs]
        return pa.record_batch([*kept, *made], schema=schema)


def _by_rows(signature: Signature) -> bool:
    """Whether every input and output has one entry per row."""
    return all(isinstance(f, Column) or f.shape[:1] == (-1,) for f in (*signature.inputs, *signature.outputs))


def _paced(size: int, took_s: float) -> int:
    """Rows for the next call: a model in a worker process may take some seconds for one, and no more."""
    if took_s < _BRISK_S:
        return min(size * 2, _MOST_ROWS)
    return max(size // 2, 1) if took_s > _SLOW_S else size


def _type(dtype: Dtype) -> pa.DataType:
    found = _TYPES.get(dtype)
    if found is None:
        raise SignatureError(f"an output of type {dtype} cannot be written", why=f"one of {', '.join(_TYPES)} is due")
    return found


def _column(answer: Any, kind: pa.DataType) -> pa.Array:
    return pa.array(answer, kind) if isinstance(answer, list) else column_of(answer, kind)
