"""gzip and deflate, both ways; what a body unpacks to counts against the limit, not what was sent."""

import gzip
import zlib
from functools import lru_cache

from headrace.gateway.http import BODY_LIMIT, Response

WORTH_BYTES = 1024
"""Smaller replies go as they are: packing them costs more than sending them."""

_LEVEL = 1
_ZLIB, _GZIP, _BARE = 15, 31, -15
_PIECE = 256 * 1024
_FED = 16 * 1024
_MEMBERS = 1024


class UnreadableBody(Exception):
    """A body that is not read.

    Attributes:
        status: To answer with.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def unpacked(body: bytes, encoding: bytes) -> bytes:
    """What ``body`` holds.

    Raises:
        UnreadableBody: 413 beyond the limit, 400 when it is broken, 415 for another encoding than gzip and deflate.
    """
    kind = encoding.strip().lower()
    if kind in {b"", b"identity"}:
        return body
    try:
        if kind in {b"gzip", b"x-gzip"}:
            return _inflated(body, _GZIP)
        if kind == b"deflate":
            # The name means zlib's format; some clients send the bare stream.
            return _inflated(body, _ZLIB if body[:1] and body[0] & 0x0F == zlib.DEFLATED else _BARE)
    except zlib.error as error:
        raise UnreadableBody(400, f"the body is no {kind.decode('latin-1')}: {error}") from None
    raise UnreadableBody(415, f"content-encoding {kind[:40].decode('latin-1')!r} is refused: gzip or deflate is due")


def packed(response: Response, accepted: bytes) -> Response:
    """The reply in an encoding that ``Accept-Encoding`` allows, where that is worth it."""
    kind = chosen(accepted) if len(response.body) >= WORTH_BYTES else ""
    if not kind:
        return response
    body = gzip.compress(response.body, _LEVEL, mtime=0) if kind == "gzip" else zlib.compress(response.body, _LEVEL)
    lines = b"content-encoding: %b\r\nvary: accept-encoding\r\n" % kind.encode()
    return response._replace(body=body, headers=response.headers + lines)


@lru_cache(maxsize=64)
def chosen(accepted: bytes) -> str:
    """``gzip``, ``deflate`` or nothing: the first of them that is allowed with the highest weight."""
    weights = {}
    for item in accepted.decode("latin-1").lower().split(","):
        name, _, parameter = item.partition(";")
        try:
            weights[name.strip()] = float(parameter.partition("=")[2] or 1)
        except ValueError:
            continue
    found = [(-weights.get(kind, weights.get("*", 0.0)), kind) for kind in ("gzip", "deflate")]
    weight, kind = min(found, key=lambda pair: pair[0])
    return kind if weight < 0 else ""


def _inflated(body: bytes, bits: int) -> bytes:
    """Piece by piece, so that no more than the limit is ever held; gzip may have several members."""
    view, at, total = memoryview(body), 0, 0
    parts: list[bytes] = []
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(bits)
        while not stream.eof:
            # What zlib has not taken it copies, so it is fed little at a time.
            fed: bytes | memoryview = stream.unconsumed_tail
            if not fed:
                fed = view[at : at + _FED]
                at += len(fed)
            part = stream.decompress(fed, _PIECE)
            if not part and not fed and not stream.eof:
                raise zlib.error("it is cut short")
            total += len(part)
            if total > BODY_LIMIT:
                raise UnreadableBody(413, f"the body exceeds {BODY_LIMIT} bytes once unpacked")
            parts.append(part)
        at -= len(stream.unused_data)
        if bits != _GZIP or at >= len(view):
            return b"".join(parts)
    raise zlib.error(f"it has more than {_MEMBERS} members")
