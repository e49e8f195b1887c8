"""Codecs for the vocabulary: narwhals frames, Arrow tables, NumPy arrays."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.errors import UsageError
from headrace.pipelines.ports import TABLE_FILE, Stored
from headrace.pipelines.tables import TableCodec, class_in
from headrace.settings import Settings
from headrace.storage.tables import Tables

_ARRAY_FILE = "array.npy"


class NarwhalsCodec(TableCodec):
    """``narwhals.LazyFrame`` is scanned lazily on the environment's table engine, ``DataFrame`` is in memory."""

    name = "narwhals"

    def fits(self, annotation: Any) -> bool:
        """A narwhals frame, of the stable interface too."""
        return class_in(annotation, "narwhals", ("LazyFrame", "DataFrame"))

    def load(self, folder: Path, annotation: Any) -> Any:
        """A lazy scan, or its rows; see ``Codec.load``."""
        frame = self.tables().scan([folder / TABLE_FILE])
        if "stable" in annotation.__module__:
            import narwhals.stable.v1 as stable

            frame = stable.from_native(frame.to_native())
        return frame if annotation.__name__ == "LazyFrame" else frame.collect()


class ArrowCodec(TableCodec):
    """``pyarrow.Table``, in memory."""

    name = "pyarrow"

    def fits(self, annotation: Any) -> bool:
        """An Arrow table."""
        return class_in(annotation, "pyarrow", ("Table",))

    def load(self, folder: Path, annotation: Any) -> Any:  # noqa: ARG002 - one class
        """All rows; see ``Codec.load``."""
        import pyarrow.parquet as pq

        return pq.read_table(folder / TABLE_FILE)


class NumpyCodec:
    """``numpy.ndarray`` of numbers, booleans, times or fixed-width text."""

    name = form = "numpy"

    def fits(self, annotation: Any) -> bool:
        """An array."""
        return class_in(annotation, "numpy", ("ndarray",))

    def save(self, value: Any, folder: Path) -> Stored:
        """One ``.npy`` file; see ``Codec.save``."""
        import numpy as np

        if value.dtype.hasobject:
            raise UsageError(
                "an array of Python objects cannot be stored",
                why=f"dtype {value.dtype}",
                fix="give it a number or text dtype, or return a list",
            )
        path = folder / _ARRAY_FILE
        np.save(path, value, allow_pickle=False)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Stored(self.name, self.form, digest, {"shape": list(value.shape), "dtype": str(value.dtype)})

    def load(self, folder: Path, annotation: Any) -> Any:  # noqa: ARG002 - one class
        """The array, in memory; see ``Codec.load``."""
        import numpy as np

        return np.load(folder / _ARRAY_FILE, allow_pickle=False)


def narwhals_codec(settings: Settings, tables: Callable[[], Tables]) -> NarwhalsCodec:
    """Factory ``codec.narwhals``."""
    return NarwhalsCodec(settings, tables)


def arrow_codec(settings: Settings, tables: Callable[[], Tables]) -> ArrowCodec:
    """Factory ``codec.pyarrow``."""
    return ArrowCodec(settings, tables)


def numpy_codec(settings: Settings, tables: Callable[[], Tables]) -> NumpyCodec:  # noqa: ARG001 - as every factory
    """Factory ``codec.numpy``."""
    return NumpyCodec()
