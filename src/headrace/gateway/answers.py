"""What the protocols share: parse a body for an endpoint, score it, and turn answers and faults into replies."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from headrace.errors import HeadraceError, UsageError
from headrace.gateway.faults import named, retry_after, said, status_of
from headrace.gateway.http import Request, Response, Send
from headrace.models.tensors import to_cells
from headrace.refs import Ref
from headrace.serving.dataplane import DataPlane
from headrace.serving.outputs import plain
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.report import report
from headrace.serving.request import Input
from headrace.serving.tensors import Decoder

encode = msgspec.json.Encoder(enc_hook=plain).encode
_TAKEN = frozenset(
    {b"application/json", b"application/x-www-form-urlencoded", b"application/octet-stream", b"text/plain"}
)
_DIGITS = 18
_SHOWN = 40

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for JSON that it cannot read."""

Parse = Callable[[Decoder, bytes], Input]
Render = Callable[[Live, Answer], Response]
Fail = Callable[[HeadraceError], Response]


class Respond:
    """Scores what a protocol has parsed, and replies in its words.

    Args:
        plane: What scores.
        fail: Says that there is no answer.
    """

    def __init__(self, plane: DataPlane, fail: Fail) -> None:
        self._plane, self._fail = plane, fail

    def __call__(self, live: Live, parsed: Input, render: Render, request: Request, send: Send) -> None:
        """Score ``parsed``, the body of ``request``, and send the reply; ``request.pending`` calls it off until then.

        Raises:
            Overloaded: Too many rows wait; nothing is sent.
        """

        def reply(answer: Answer) -> None:
            if answer.fault is not None:
                send(self._fail(answer.fault))
                return
            try:
                status, body, content_type, headers = render(live, answer)
            except Exception:  # noqa: BLE001 - it may come from a thread, where nobody else would answer
                send(our_fault())
                return
            send(Response(status, body, content_type, headers + _headers(answer)))

        request.pending = self._plane.predict(live, parsed, reply, request)


def parse(live: Live, body: bytes, how: Callable[[Decoder, bytes], Any]) -> Any:
    """``how(decoder, body)``, its complaints named and counted.

    Raises:
        SignatureError: Columns or cells that the signature does not allow.
        UsageError: No JSON, or not what the protocol asks for.
    """
    try:
        return how(live.decoder, body)
    except UNREADABLE as error:
        live.counters.refused += 1
        raise named(error, body, live.decoder) from None
    except UsageError:
        live.counters.refused += 1
        raise


def refuse_foreign_type(request: Request) -> None:
    """Refuse a body that says it is not JSON; none said, and what curl and fetch say unasked, pass as JSON."""
    said = request.headers.get(b"content-type")
    if said is None or said == b"application/json":
        return
    kind = said.partition(b";")[0].strip().lower()
    if kind not in _TAKEN:
        raise UsageError(f"content type {kind.decode('latin-1')!r} is refused", why="application/json is due")


def our_fault() -> Response:
    """The reply to what met the exception that is being handled: the caller learns that, standard error our stack."""
    report(traceback.format_exc())
    return Response(500, encode({"error": "internal error"}))


def wrong_method(request: Request, *allowed: bytes) -> Response | None:
    """405 with the methods that a path allows; None for a request that has one of them."""
    if request.method in allowed:
        return None
    names = b", ".join(allowed)
    error = f"{request.method.decode()} is not allowed here - fix: use {names.decode()}"
    return Response(405, encode({"error": error}), headers=b"allow: %b\r\n" % names)


def token_told() -> Response:
    """The reply to a request that carries a token in its target."""
    error = UsageError(
        "a token has no place in a URL",
        why="whoever is on the way keeps URLs: this one should be revoked",
        fix="Authorization: Bearer <token>",
    )
    return error_body(error)


def error_body(error: HeadraceError) -> Response:
    """The reply of TensorFlow Serving and of the Open Inference Protocol to an error."""
    return Response(status_of(error), encode({"error": said(error)}), headers=retry_after(error))


def version_number(text: str) -> int:
    """A version as a path or message says it; raise ``UsageError`` when it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise UsageError(f"Failed to convert version: {text[:_SHOWN]}")
    return int(text)


def versions_of(live: Live) -> list[str]:
    """Loaded versions of the model that the schedule prefers, in its order, those on standby last."""
    references = [Ref.parse(name) for name in live.loaded]
    return [ref.selector for ref in references if ref.name == references[0].name]


def unused(reply: Response) -> Response:
    """The reply of a model that declares no parameters to a request that says some."""
    return reply._replace(headers=reply.headers + b"x-headrace-params: unused, the model declares none\r\n")


def by_rows(outputs: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The outputs, one object a row."""
    columns = [to_cells(v) if isinstance(v, np.ndarray) else v for v in outputs.values()]
    names = tuple(outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def single(outputs: Mapping[str, Any]) -> Any:
    """The values of the only output, ready to be encoded, or None when there are several."""
    if len(outputs) != 1:
        return None
    (values,) = outputs.values()
    return plain(values) if isinstance(values, np.ndarray) else values  # its hook would cost the encoder more


def _headers(answer: Answer) -> bytes:
    text = (
        f"x-headrace-id: {answer.id}\r\nx-headrace-winner: {answer.winner}\r\n"
        f"x-headrace-elapsed-ms: {answer.elapsed_s * 1000:.3f}\r\n"
    )
    return (text if answer.logged else text + "x-headrace-logged: false\r\n").encode()
