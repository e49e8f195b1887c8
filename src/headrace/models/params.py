"""Parameters of a model: what a request may say besides its input, once for all of its rows."""

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from headrace.errors import SignatureError

Kind = Literal["bool", "int32", "int64", "float32", "float64", "string", "datetime", "object"]
"""Types of a parameter; a time is ISO 8601 text, an object is one of JSON."""

Params = Mapping[str, Any]
"""Parameters by name, as JSON values."""

NO_PARAMS: Params = {}
"""What a request says that says none."""

_SHOWN = 50
_DEEPEST = 32
_SAID: Mapping[Kind, str] = {
    "bool": "true or false",
    "int32": "a whole number of 32 bits",
    "int64": "a whole number",
    "float32": "a number",
    "float64": "a number",
    "string": "text",
    "datetime": "ISO 8601 text",
    "object": f"an object of at most {_DEEPEST} levels",
}


@dataclass(frozen=True)
class Param:
    """One parameter.

    Attributes:
        name: As callers say it.
        kind: Its type.
        default: What holds where a request does not say it, as a JSON value.
        many: Whether it is a list of such values.
        nullable: Whether null is legal, for it or in its list.

    Raises:
        SignatureError: The default is not of the type.
    """

    name: str
    kind: Kind
    default: Any = field(hash=False)
    many: bool = False
    nullable: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _SAID:
            raise SignatureError(f"param {self.name!r} has type {self.kind!r}", fix=f"one of {', '.join(_SAID)}")
        object.__setattr__(self, "default", self.checked(self.default))

    def checked(self, value: Any) -> Any:
        """The value as the model gets it: whole numbers become floats where those are due.

        Raises:
            SignatureError: It is not of the type; names the parameter.
        """
        if not self.many:
            return self._one(value)
        if not isinstance(value, list | tuple):
            raise self._refused(value)
        return [self._one(one) for one in value]

    def __str__(self) -> str:
        """For people: name, type and default."""
        listed = "[]" if self.many else ""
        return f"{self.name}: {self.kind}{listed} = {self.default!r}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        fields: dict[str, Any] = {"name": self.name, "dtype": self.kind, "default": self.default}
        fields |= {"shape": [-1]} if self.many else {}
        return fields | ({"nullable": True} if self.nullable else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Param":
        """Back from ``to_json``."""
        nullable = bool(data.get("nullable", False))
        return cls(data["name"], data["dtype"], data["default"], data.get("shape") is not None, nullable)

    def _one(self, value: Any) -> Any:
        if value is None and self.nullable:
            return None
        try:
            return _READ[self.kind](value)
        except (ValueError, TypeError, OverflowError):
            raise self._refused(value) from None

    def _refused(self, value: Any) -> SignatureError:
        due = f"a list, each {_SAID[self.kind]}," if self.many else _SAID[self.kind]
        null = " or null" if self.nullable else ""
        return SignatureError(
            f"param {self.name!r} is refused", why=f"{due}{null} is due, it is {repr(value)[:_SHOWN]}"
        )


def checked_params(declared: Sequence[Param], given: Params) -> dict[str, Any]:
    """What a request says, of the types that the model declares; what it does not say stays unsaid.

    Raises:
        SignatureError: A name that the model does not declare, or a value of another type.
    """
    known = {param.name: param for param in declared}
    strange = next((name for name in given if name not in known), None)
    if strange is not None:
        why = f"it takes {', '.join(map(str, declared))}" if declared else "it declares none"
        raise SignatureError(f"param {strange[:_SHOWN]!r} is not one of this model", why=why)
    return {name: known[name].checked(value) for name, value in given.items()}


def kind_of(value: Any) -> Kind | None:
    """The type that a Python value shows; None for what no parameter is."""
    kinds: Mapping[type, Kind] = {bool: "bool", int: "int64", float: "float64", str: "string"}
    return kinds.get(type(value))


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _whole(bits: int, value: Any) -> int:
    if type(value) is not int or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float} or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _time(value: Any) -> str:
    """Text that NumPy reads as a day or a time of day, as MLflow does."""
    import numpy as np  # listing models would pay for it

    if not isinstance(np.datetime64(_exactly(str, value)).item(), dt.date):
        raise ValueError  # noqa: TRY004 - the text is of no time
    return str(value)


def _object(value: Any) -> Any:
    """One that is not nested deeper than all who write it down can follow."""
    level = [_exactly(dict, value)]
    for _ in range(_DEEPEST):
        inner = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
        level = [part for part in inner if isinstance(part, dict | list)]
        if not level:
            return value
    raise ValueError


_READ: Mapping[Kind, Callable[[Any], Any]] = {
    "bool": partial(_exactly, bool),
    "int32": partial(_whole, 32),
    "int64": partial(_whole, 64),
    "float32": _number,
    "float64": _number,
    "string": partial(_exactly, str),
    "datetime": _time,
    "object": _object,
}
