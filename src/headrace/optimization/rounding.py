"""Is float32 to blame? Served numbers are float32; a model trained on float64 may stand between two of them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.optimization.converter import Converter

if TYPE_CHECKING:
    import narwhals as nw


def moved_by(converter: Converter, model: Any, rows: "nw.DataFrame[Any]", *, tolerance: float) -> list[tuple[str, ...]]:
    """For each row, the columns whose rounding to float32 alone moves the trained model's answer beyond ``tolerance``.

    Args:
        converter: Of the model's framework.
        model: The trained model.
        rows: Its inputs, few rows.
        tolerance: Largest difference that does not count.
    """
    import narwhals as nw

    trained = _answers(converter, model, rows)
    found: list[list[str]] = [[] for _ in range(len(rows))]
    for name, dtype in rows.schema.items():
        if dtype != nw.Float64 and not dtype.is_integer():
            continue
        rounded = rows.with_columns(nw.col(name).cast(nw.Float32).cast(dtype))
        gaps = np.abs(_answers(converter, model, rounded) - trained).max(axis=1)
        for row in np.flatnonzero(gaps > tolerance):
            found[row].append(name)
    return [tuple(names) for names in found]


def _answers(converter: Converter, model: Any, rows: "nw.DataFrame[Any]") -> Any:
    return converter.predict(model, rows, rows.columns).reshape(len(rows), -1)
