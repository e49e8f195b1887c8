"""What the protocols share: parse a body for an endpoint, score it, and turn answers and faults into replies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headrace.errors import HeadraceError, Unavailable, UsageError
from headrace.gateway.faults import named, status_of
from headrace.gateway.http import Response, Send
from headrace.serving.dataplane import DataPlane
from headrace.serving.records import DEFAULT
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.request import Input, TableDecoder

encode = msgspec.json.encode

Parse = Callable[[TableDecoder, bytes], Input]
Render = Callable[[Live, Answer], bytes]
Fail = Callable[[HeadraceError], Response]


def respond(plane: DataPlane, live: Live, parsed: Input, *, render: Render, send: Send, fail: Fail) -> None:
    """Score ``parsed`` and send what ``render`` makes of the answer."""

    def reply(answer: Answer) -> None:
        if answer.winner == DEFAULT and not answer.outputs:
            send(fail(Unavailable(f"no model answered request {answer.id}", why="the endpoint has no default")))
            return
        send(Response(200, render(live, answer), headers=_headers(answer)))

    plane.predict(live, parsed, reply)


def parse(live: Live, body: bytes, how: Callable[[TableDecoder, bytes], Any]) -> Any:
    """``how(decoder, body)``, its complaints named and counted.

    Raises:
        SignatureError: Columns or cells that the signature does not allow.
        UsageError: No JSON, or not what the protocol asks for.
    """
    try:
        return how(live.decoder, body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        live.counters.refused += 1
        raise named(error, body, live.decoder) from None
    except UsageError:
        live.counters.refused += 1
        raise


def error_body(error: HeadraceError) -> Response:
    """The reply of TensorFlow Serving and of the Open Inference Protocol to an error."""
    return Response(status_of(error), encode({"error": str(error)}))


def single(outputs: Mapping[str, Sequence[Any]]) -> Sequence[Any] | None:
    """The values of the only output, or None when there are several."""
    return next(iter(outputs.values())) if len(outputs) == 1 else None


def _headers(answer: Answer) -> bytes:
    text = (
        f"x-headrace-id: {answer.id}\r\nx-headrace-winner: {answer.winner}\r\n"
        f"x-headrace-elapsed-ms: {answer.elapsed_s * 1000:.3f}\r\n"
    )
    return (text if answer.logged else text + "x-headrace-logged: false\r\n").encode()
