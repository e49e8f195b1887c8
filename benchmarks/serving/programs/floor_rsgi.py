"""The floor on granian's own interface, one worker with one runtime thread."""

import sys
from typing import Any

import msgspec
from floor_model import answerer
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

PATH = "/predict"
HEADERS = [("content-type", "application/json")]

if __name__ != "__main__":  # in the worker
    answer = answerer()


async def app(scope: Any, proto: Any) -> None:
    body = await proto()
    try:
        status, reply = (200, answer(body)) if scope.path == PATH else (404, b"{}")
    except msgspec.MsgspecError as error:
        status, reply = 400, msgspec.json.encode({"error": str(error)})
    proto.response_bytes(status, HEADERS, reply)


if __name__ == "__main__":
    Granian(
        "floor_rsgi:app",
        address="127.0.0.1",
        port=int(sys.argv[2]),
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        log_access=False,
        log_enabled=False,
    ).serve()
