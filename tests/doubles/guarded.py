"""A port of a gateway in this process that asks for tokens."""

import asyncio
from contextlib import contextmanager
from functools import partial

from headrace.client import Client
from headrace.gateway.access import Access, Guard
from headrace.gateway.doorway import Doorway
from headrace.gateway.http import Server
from headrace.placement.access import Tokens


@contextmanager
def guarded(gate, home, inner=None):
    """A client of such a port of ``gate``, and the tokens in ``home`` that it goes by."""
    tokens = Tokens(home)
    guard = Guard(inner or gate.server.handler, Access(tokens))
    server = Server(guard, gate.loop, partial(Doorway, guard), gate.server.shown)
    client = Client(f"http://127.0.0.1:{gate.call(server.listen('127.0.0.1', 0))}")

    async def close():
        await server.finish()
        server.close()
        await asyncio.sleep(0)

    yield client, tokens
    client.close()
    gate.call(close())
