"""The floor on uvicorn with uvloop and httptools."""

import sys
from typing import Any

import msgspec
import uvicorn
from floor_model import answerer

answer = answerer()
PATH = "/predict"


async def app(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    try:
        status, reply = (200, answer(body)) if scope["path"] == PATH else (404, b"{}")
    except msgspec.MsgspecError as error:
        status, reply = 400, msgspec.json.encode({"error": str(error)})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reply})


uvicorn.run(
    app,
    host="127.0.0.1",
    port=int(sys.argv[2]),
    loop="uvloop",
    http="httptools",
    lifespan="off",
    access_log=False,
    log_level="warning",
)
