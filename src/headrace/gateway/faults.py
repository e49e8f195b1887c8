"""What went wrong, for callers: the fault named from the bytes that were sent, the status chosen by type."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.errors import (
    Conflict,
    Forbidden,
    HeadraceError,
    NameRefused,
    NotFound,
    Overloaded,
    SignatureError,
    Unauthorized,
    Unavailable,
    UsageError,
)
from headrace.serving.tensors import Decoder

_DEPTH_LIMIT = 64
"""So deep it is looked for what is not finite."""
SAID_BYTES = 2048
"""No more is said of an error: it repeats names that were sent, and gRPC clients take 8 KiB, escaped."""
_SEARCHED_BYTES = 1024 * 1024
_STATUS: tuple[tuple[type[HeadraceError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Forbidden, 403),
    (Unauthorized, 401),
    (Overloaded, 429),
    (Unavailable, 503),
    (NameRefused, 400),
    (UsageError, 400),
)
_NOT_FINITE = re.compile(rb"NaN|Infinity")


def status_of(error: HeadraceError) -> int:
    """HTTP status of an error: 4xx where the caller can mend it."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def said(error: HeadraceError) -> str:
    """The words of an error for its caller, ``SAID_BYTES`` of UTF-8 at most: what is too long is cut in its middle."""
    text = str(error)
    if len(text) * 4 <= SAID_BYTES:
        return text
    data = text.encode(errors="replace")
    if len(data) <= SAID_BYTES:
        return text
    part = SAID_BYTES // 2 - 2
    return f"{data[:part].decode(errors='ignore')}...{data[-part:].decode(errors='ignore')}"


def retry_after(error: HeadraceError) -> bytes:
    """The header that says when to try again; none where that is not known."""
    return b"retry-after: %d\r\n" % error.retry_after_s if isinstance(error, Overloaded) else b""


def named(error: Exception, body: bytes, decoder: Decoder) -> HeadraceError:
    """The fault in ``body`` that a parser met, in words for its sender.

    Args:
        error: What ``msgspec`` raised.
        body: What was sent.
        decoder: Of the endpoint it was sent to.
    """
    if not body.strip():
        return UsageError("JSON Parse error: The document is empty")
    if isinstance(error, RecursionError):
        return UsageError("the request is nested too deep", why="no model takes what is nested so")
    if isinstance(error, msgspec.ValidationError):
        return decoder.fault(error)
    if _NOT_FINITE.search(body) and len(body) <= _SEARCHED_BYTES:
        for path in _not_finite(body):
            column = next((p for p in reversed(path) if isinstance(p, str)), "")
            return SignatureError(
                f"column {column!r} is not finite" if column in decoder.sent else "a value is not finite",
                where="/".join(map(str, path)),
                why="NaN and Infinity are no JSON, and no input",
                fix="send null where the signature allows it",
            )
    return UsageError("JSON Parse error: the body is not JSON", why=str(error))


def _not_finite(body: bytes) -> Iterator[tuple[str | int, ...]]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    yield from _walk(value, ())


def _walk(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if len(path) > _DEPTH_LIMIT:
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))
