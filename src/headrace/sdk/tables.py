"""Handing a table to a step that is called inside another one, as its annotation wants it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.models.infer import eager
from headrace.pipelines.handover import hints_of, plain
from headrace.sdk.decorators import Step

if TYPE_CHECKING:
    import narwhals as nw

_AS: "dict[str, Callable[[nw.DataFrame[Any]], Any]]" = {
    "polars.LazyFrame": lambda frame: frame.to_polars().lazy(),
    "polars.DataFrame": lambda frame: frame.to_polars(),
    "pandas.DataFrame": lambda frame: frame.to_pandas(),
    "pyarrow.Table": lambda frame: frame.to_arrow(),
    "narwhals.LazyFrame": lambda frame: frame.lazy(),
    "narwhals.DataFrame": lambda frame: frame,
}


def taking_tables(called: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A step of ``(model, rows)`` that takes any table and is handed what the annotation of ``rows`` says.

    A run hands tables over so by itself; this is for a step that another step calls.
    """
    if not isinstance(called, Step):
        return called
    name = list(called.spec.signature.parameters)[1]
    wanted = plain(hints_of(called.spec.function).get(name, Any))
    wanted = getattr(wanted, "__origin__", wanted)
    module, kind = getattr(wanted, "__module__", "").partition(".")[0], getattr(wanted, "__qualname__", "")
    convert = _AS.get(f"{module}.{kind}")
    return called if convert is None else lambda model, rows: called(model, convert(eager(rows)))
