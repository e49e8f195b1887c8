"""A signature from an example: the schema of a table of the model's inputs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from headrace.errors import RegistrationRefused, UsageError
from headrace.models.artifact import Artifact
from headrace.models.signature import Column, Dtype, Signature, is_null

if TYPE_CHECKING:
    import narwhals as nw


def signature_of(artifact: Artifact, example: Any, *, nullable: Iterable[str] = ()) -> Signature:
    """The table signature of ``artifact``: its inputs with the example's types, in the order that the graph takes them.

    Args:
        artifact: The model; columns of the example that are not among its inputs are left out.
        example: A table (anything narwhals reads, lazy or not) with every input.
        nullable: Inputs that may be null besides those with a null in the example.

    Raises:
        RegistrationRefused: An input is missing from the example, or has a type that no model takes.
    """
    frame = examples_frame(artifact, example)
    given = set(nullable)
    unknown = given.difference(artifact.inputs)
    if unknown:
        raise RegistrationRefused(
            f"nullable names {', '.join(sorted(unknown))}, which the model does not take",
            fix=f"name some of {', '.join(artifact.inputs)}",
        )
    columns = tuple(
        Column(name, wire_dtype(frame.schema[name], name), name in given or has_null(frame, name))
        for name in artifact.inputs
    )
    outputs = tuple(Column(name, "float32") for name in artifact.outputs)
    return Signature("table", columns, outputs, params=artifact.params)


def examples_frame(artifact: Artifact, example: Any) -> "nw.DataFrame[Any]":
    """The example's rows with exactly the inputs of ``artifact``, in memory.

    Raises:
        RegistrationRefused: There is no example, or it lacks an input or has no row.
    """
    if example is None:
        raise RegistrationRefused(
            "a model without an example cannot be registered",
            why="its schema becomes the signature",
            fix="pass example=rows.head(5)",
        )
    frame = eager(example)
    missing = [name for name in artifact.inputs if name not in frame.columns]
    if missing or len(frame) == 0:
        raise RegistrationRefused(
            "the example lacks " + (", ".join(missing) or "rows"),
            why=f"the model takes {', '.join(artifact.inputs)}",
            fix="pass example= some rows of the table that the model was trained on",
        )
    return frame.select(list(artifact.inputs))


def eager(table: Any) -> "nw.DataFrame[Any]":
    """Any table that narwhals reads, as rows in memory.

    Raises:
        UsageError: It is none.
    """
    import narwhals as nw

    try:
        frame = nw.from_native(table)
    except TypeError as error:
        raise UsageError(
            f"rows are a table, not a {type(table).__name__}",
            why="their columns need types",
            fix="pandas.DataFrame(rows), or another data frame",
        ) from error
    return frame.collect() if isinstance(frame, nw.LazyFrame) else cast("nw.DataFrame[Any]", frame)


def has_null(frame: "nw.DataFrame[Any]", name: str) -> bool:
    """Whether a column holds a null or, in a column of floats, a NaN."""
    column = frame[name]
    if column.is_null().any():
        return True
    return bool(column.dtype.is_float() and column.is_nan().any())


def cells_of(frame: "nw.DataFrame[Any]") -> dict[str, list[Any]]:
    """Columns as lists of JSON values; null and NaN are None."""
    found: dict[str, list[Any]] = {}
    for name, cells in frame.to_dict(as_series=False).items():
        found[name] = [None if is_null(cell) else cell for cell in cells]
    return found


def wire_dtype(dtype: Any, name: str) -> Dtype:
    """The wire type of a narwhals dtype; whole numbers of any width travel as int64.

    Raises:
        RegistrationRefused: The type is neither a number, a truth value nor text.
    """
    import narwhals as nw

    if dtype == nw.Boolean:
        return "bool"
    if dtype == nw.Float32:
        return "float32"
    if dtype.is_integer():
        return "int64"
    if dtype.is_numeric():
        return "float64"
    if dtype in {nw.String, nw.Categorical, nw.Enum}:
        return "string"
    raise RegistrationRefused(
        f"column {name!r} has type {dtype}, which no model takes",
        fix="make it numbers or text in a step: an hour, a day count, a name",
    )


def dtypes_of(table: Any) -> dict[str, str]:
    """Column to wire type of a table, columns of other types left out."""
    import narwhals as nw

    found: dict[str, str] = {}
    for name, dtype in nw.from_native(table).collect_schema().items():
        try:
            found[name] = wire_dtype(dtype, name)
        except RegistrationRefused:
            continue
    return found
