"""How deep JSON is nested, where no type of the model's signature says it.

A level that is not due in a model's input is refused by its type. What is left are parameters, which are looked at
where a request has some, and fields that a protocol passes over: the parsers refuse these at first, so that a body
without any costs nothing (docs/decisions/0044).
"""

from typing import Any, TypeVar

import msgspec

from headrace.errors import UsageError
from headrace.gateway.row_limit import counted

DEPTH_LIMIT = 64
"""Objects and lists within one another; more are refused."""

_UNKNOWN = "contains unknown field"
_HOLDS = (dict, list)
T = TypeVar("T")


def passing_over(loose: "msgspec.json.Decoder[T]", body: bytes | memoryview, refused: msgspec.ValidationError) -> T:
    """Read a body once more that a parser refused, for the fields in it that the protocol passes over.

    Args:
        loose: Reads the same, and passes them over.
        body: What was read.
        refused: Why it was refused.

    Raises:
        UsageError: It is nested deeper than ``DEPTH_LIMIT``.
        msgspec.ValidationError: It was refused for anything else.
    """
    if _UNKNOWN not in str(refused):
        raise refused
    check_text(bytes(body))
    return loose.decode(body)


def check_text(text: bytes, around: int = 0) -> None:
    """Raise ``UsageError`` for JSON that is nested too deep with the levels ``around`` it."""
    most = DEPTH_LIMIT - around
    if text.count(b"[") + text.count(b"{") > most and counted(text).depth > most:
        raise _too_deep()


def check_value(value: Any, around: int) -> None:
    """Raise ``UsageError`` for a value that has been read and is nested too deep with the levels ``around`` it."""
    level = [value] if isinstance(value, _HOLDS) else []
    for _ in range(DEPTH_LIMIT - around):
        inner = [held.values() if isinstance(held, dict) else held for held in level]
        level = [held for items in inner for held in items if isinstance(held, _HOLDS)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> UsageError:
    return UsageError("the request is nested too deep", why=f"at most {DEPTH_LIMIT} levels are read")
