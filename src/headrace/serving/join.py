"""Joins of an endpoint: which features the front door adds to each row, and what is left for callers to send."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from headrace.errors import SettingsError, UsageError
from headrace.features.view import FeatureView
from headrace.models.signature import Column, Signature

_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"})
_NUMBERS = _INTEGERS | {"float32", "float64"}
_TAKEN: Mapping[str, frozenset[str]] = {"int64": _INTEGERS, "float32": _NUMBERS, "float64": _NUMBERS}
_KEYS = ("view", "on", "prefix")
_FIX = 'join = [{ view = "customers", on = ["customer"] }]'


@dataclass(frozen=True)
class Join:
    """Features of one view, looked up for each row of a request before any model sees it.

    Attributes:
        view: Its name.
        on: Columns that callers send, whose values are an entity's key, in the order of the view's keys; empty for the
            keys' own names.
        prefix: What the model's inputs have before the features' names, so that one view can be joined twice.
        keys: The view's keys with their dtypes, as they were when the endpoint was deployed.
        columns: Its features with their dtypes, likewise.
    """

    view: str
    on: tuple[str, ...] = ()
    prefix: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    columns: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        known = {"keys": dict(self.keys), "columns": dict(self.columns)} if self.keys else {}
        return {"view": self.view, "on": list(self.on), "prefix": self.prefix, **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Join":
        """Back from ``to_json``; what is absent keeps its default."""
        keys, columns = (tuple(data.get(name, {}).items()) for name in ("keys", "columns"))
        return cls(data["view"], tuple(data.get("on", ())), data.get("prefix", ""), keys, columns)

    def over(self, view: FeatureView) -> "Join":
        """The same, of a version of its view."""
        keys, columns = tuple(view.keys.items()), tuple(view.columns.items())
        return replace(self, on=self.on or tuple(view.keys), keys=keys, columns=columns)


class Feature(NamedTuple):
    """A feature that is an input of a model.

    Attributes:
        name: In its view.
        input: The model's.
    """

    name: str
    input: Column


def features(join: Join, signature: Signature) -> Sequence[Feature]:
    """What a join adds to the rows of a model, in the view's order; nothing that callers send to join by."""
    inputs = {column.name: column for column in signature.columns if column.name not in join.on}
    return [Feature(name, inputs[join.prefix + name]) for name, _ in join.columns if join.prefix + name in inputs]


def asked(signature: Signature, joins: Sequence[Join]) -> Signature:
    """What callers send to a model whose other inputs are joined: those that are not, and what to join by."""
    active = [join for join in joins if features(join, signature)]
    joined = {feature.input.name for join in active for feature in features(join, signature)}
    left = [column for column in signature.columns if column.name not in joined]
    known = {column.name for column in signature.columns}
    besides: dict[str, Column] = {}
    for name, dtype in _keys(active):
        if name not in known:
            besides[name] = Column(name, "int64" if dtype in _INTEGERS else _word(dtype))
    return replace(signature, inputs=(*left, *besides.values())) if active else signature


def read_joins(said: Any, where: str) -> None:
    """Raise ``SettingsError`` for a setting that is no list of joins."""
    wrong = not isinstance(said, list | tuple) or not all(isinstance(join, Mapping) for join in said)
    if wrong:
        raise SettingsError(f"join is {said!r}", where=where, why="a list of tables is due", fix=_FIX)
    for join in said:
        strange = sorted(join.keys() - set(_KEYS))
        if strange:
            fix = f"one of {', '.join(_KEYS)}"
            raise SettingsError(f"unknown setting {strange[0]!r}", where=f"join of {where}", fix=fix)
        on = join.get("on", [])
        listed = isinstance(on, list | tuple) and all(isinstance(name, str) for name in on)
        if not isinstance(join.get("view"), str) or not isinstance(join.get("prefix", ""), str) or not listed:
            why = "view is a name, on a list of columns, prefix a text"
            raise SettingsError(f"a join is {dict(join)!r}", where=where, why=why, fix=_FIX)


def check_joins(name: str, joins: Sequence[Join], signature: Signature) -> None:
    """Raise ``UsageError`` unless every join of an endpoint can be made.

    Args:
        name: Of the endpoint.
        joins: Each over a version of its view.
        signature: What its models take.
    """
    sent = asked(signature, joins)
    taken = {column.name: column for column in sent.columns}
    joined: dict[str, str] = {}
    for join in joins:
        where = f"join of view {join.view}"
        if signature.kind != "table":
            raise UsageError(f"endpoint {name} cannot join features", where=where, why="its models take tensors")
        _check_features(name, join, signature, where)
        _check_keys(name, join, taken, where)
        for feature in features(join, signature):
            other = joined.setdefault(feature.input.name, join.view)
            if other != join.view or sum(join.view == one.view and join.prefix == one.prefix for one in joins) > 1:
                raise UsageError(
                    f"endpoint {name} joins {feature.input.name!r} twice", where=where, fix="give one of them a prefix"
                )


def _check_keys(name: str, join: Join, taken: Mapping[str, Column], where: str) -> None:
    if len(join.on) != len(join.keys):
        keys = ", ".join(key for key, _ in join.keys)
        raise UsageError(
            f"endpoint {name} joins on {len(join.on)} columns",
            where=where,
            why=f"an entity's key has {len(join.keys)}: {keys}",
            fix="on names a column that callers send for each, in this order",
        )
    for column, (key, dtype) in zip(join.on, join.keys, strict=True):
        if column not in taken:
            raise UsageError(
                f"endpoint {name} cannot join on {column!r}", where=where, why="it is joined itself: callers send keys"
            )
        due = "int64" if dtype in _INTEGERS else dtype
        if taken[column].dtype != due:
            why = f"callers send it as {taken[column].dtype}, key {key!r} is {dtype}"
            fix = "materialize the view by a key of that type"
            raise UsageError(f"endpoint {name} cannot join on {column!r}", where=where, why=why, fix=fix)


def _check_features(name: str, join: Join, signature: Signature, where: str) -> None:
    found = features(join, signature)
    if not found:
        inputs, columns = (", ".join(names) for names in ([c.name for c in signature.columns], dict(join.columns)))
        raise UsageError(
            f"endpoint {name} would join nothing",
            where=where,
            why=f"its models take {inputs}; the view has {columns}",
            fix="name a feature as the model's input, or with a prefix, and materialize the view again",
        )
    dtypes = dict(join.columns)
    for feature in found:
        if not fits(dtypes[feature.name], feature.input):
            raise UsageError(
                f"endpoint {name} cannot join {feature.input.name!r}",
                where=where,
                why=f"the model takes {feature.input.dtype}, the view has {dtypes[feature.name]}",
                fix="cast the column in the dataset, and materialize the view again",
            )


def fits(dtype: str, taken: Column) -> bool:
    """Whether a feature of this dtype is something that a model takes as this input."""
    return dtype in _TAKEN.get(taken.dtype, {taken.dtype})


def _keys(joins: Sequence[Join]) -> Iterator[tuple[str, str]]:
    for join in joins:
        for column, (_, dtype) in zip(join.on, join.keys, strict=False):
            yield column, dtype


def _word(dtype: str) -> Any:
    return dtype
