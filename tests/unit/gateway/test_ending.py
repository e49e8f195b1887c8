"""A server that ends answers what it was sent whole, and what its clients are in the middle of sending."""

import asyncio
import json
import socket

from served import ROW, constant, endpoint, gated, model, until

BODY = json.dumps({"instances": [ROW]}).encode()
MESSAGE = b"POST /v1/models/wine:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


def finishing(gate):
    """Have the server end, in the background."""
    return asyncio.run_coroutine_threadsafe(gate.server.finish(), gate.loop)


def connected(gate):
    return socket.create_connection(("127.0.0.1", gate.port), 10)


def reply(client):
    """Status of a reply, and whether it says that the connection closes; small replies come whole."""
    data = client.recv(65536).lower()
    return int(data[9:12]), b"connection: close" in data


def test_what_was_sent_ahead_is_answered_in_order_and_the_last_reply_closes(tmp_path):
    deployed = endpoint(("wine@1", 2.0), deadline_s=3.0)
    with gated(tmp_path, deployed, {"wine@1": model("wine@1", constant(1.0))}) as gate, connected(gate) as client:
        client.sendall(MESSAGE)
        assert reply(client) == (200, False)
        client.sendall(MESSAGE * 5)
        finishing(gate).result(10)
        data = b"".join(iter(lambda: client.recv(65536), b""))
        assert data.count(b"HTTP/1.1 200 ") == 5
        assert data.lower().count(b"connection: close") == 1


def test_a_client_that_is_sending_or_about_to_is_waited_for_and_a_silent_one_is_not(tmp_path):
    deployed = endpoint(("wine@1", 2.0), deadline_s=3.0)
    models = {"wine@1": model("wine@1", constant(1.0), fast=True)}
    with gated(tmp_path, deployed, models) as gate:
        sending, about, silent = (connected(gate) for _ in range(3))
        with sending, about, silent:
            sending.sendall(MESSAGE[:-10])
            for client in (about, silent):
                client.sendall(MESSAGE)
                assert reply(client) == (200, False)
            ended = finishing(gate)
            until(lambda: gate.server.closing)
            about.sendall(MESSAGE)
            assert reply(about) == (200, True)
            assert silent.recv(1) == b""
            assert not ended.done()  # for the one that sends
            sending.sendall(MESSAGE[-10:])
            assert reply(sending) == (200, True)
            ended.result(10)
