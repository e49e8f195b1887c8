import socket
import threading

import numpy as np
import pytest
from served import ROW, Gated, constant, endpoint, gated, linear, model
from tensor_served import several

from headrace.client import Client
from headrace.client.connection import Connection
from headrace.errors import NotFound, SignatureError, Unavailable, UsageError
from headrace.models.signature import Signature, Tensor
from headrace.serving.endpoint import Endpoint, Preference


@pytest.fixture
def gate(tmp_path):
    with gated(tmp_path, endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear, fast=True)}) as found:
        yield found


def test_rows_and_columns(gate):
    answer = gate.client.predict("wine", rows=[ROW, {**ROW, "ph": None}])
    assert answer.values == [147.5, 112.5]
    assert answer.winner == "wine@3"
    assert gate.log.find(answer.id) is not None
    columns = {name: [value] * 2 for name, value in ROW.items()}
    assert gate.client.predict("wine", columns=columns).values == [147.5, 147.5]


def test_what_else_can_be_asked(gate):
    assert gate.client.ready()
    gate.client.wait_ready()
    assert gate.client.status("wine")[0]["version"] == "3"
    assert gate.client.metadata("wine")["name"] == "wine"
    gate.client.predict("wine", rows=[ROW], version=3)
    assert gate.client.metrics()['headrace_requests_total{endpoint="wine"}'] == 1


def test_errors_are_headraces_own(gate):
    with pytest.raises(SignatureError, match="'alcohol' is missing"):
        gate.client.predict("wine", rows=[{k: v for k, v in ROW.items() if k != "alcohol"}])
    with pytest.raises(NotFound, match="no endpoint named 'beer'"):
        gate.client.predict("beer", rows=[ROW])
    with pytest.raises(NotFound):
        gate.client.predict("../wine", rows=[ROW])
    with pytest.raises(ValueError, match="JSON compliant"):
        gate.client.predict("wine", rows=[{**ROW, "alcohol": float("nan")}])


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{probe.getsockname()[1]}")
        assert client.ready() is False
        with pytest.raises(Unavailable, match=r"does not answer.*fix: check the address"):
            client.predict("wine", rows=[ROW])
        with pytest.raises(Unavailable, match="not ready"):
            client.wait_ready(0.05)


@pytest.mark.parametrize("address", ["http://me:pw@here:eighty", "here:65536", "http://[::1"])
def test_an_address_that_is_none_is_said_to_be(address):
    with pytest.raises(UsageError, match="that is no address of a gateway - ") as raised:
        Client(address)
    assert "pw" not in str(raised.value)


def test_threads_share_a_client(gate):
    found = []

    def ask(number):
        row = {**ROW, "alcohol": float(number)}
        found.extend((number, gate.client.predict("wine", rows=[row]).values) for _ in range(20))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 120
    assert all(values == [135.0 + number] for number, values in found)


def test_a_reply_larger_than_a_read(gate):
    values = gate.client.predict("wine", rows=[ROW] * 20_000).values
    assert values == [147.5] * 20_000


class Scripted:
    """A server that answers each connection with given bytes and then closes it."""

    def __init__(self, *answers):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers):
        for answer in answers:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    def close(self):
        self._thread.join(5)
        self.listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Said: yes\r\n\r\nhi"


def test_a_connection_that_the_server_closed_is_opened_anew():
    server = Scripted(OK, OK)
    connection = Connection("127.0.0.1", server.port, 5)
    assert connection.request("GET", "/").body == b"hi"
    reply = connection.request("GET", "/")
    assert (reply.status, reply.header("x-said"), reply.header("x-other")) == (200, "yes", "")
    connection.close()
    server.close()


@pytest.mark.parametrize(("method", "asked"), [("GET", 3), ("POST", 2)])
def test_what_may_have_been_scored_is_not_sent_again(method, asked):
    """The server takes a second request and dies: a GET is asked again, a POST is the caller's to repeat."""
    listener, seen = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        first, _ = listener.accept()
        with first:
            seen.append(first.recv(65536))
            first.sendall(OK)
            seen.append(first.recv(65536))
        if method == "GET":
            second, _ = listener.accept()
            with second:
                seen.append(second.recv(65536))
                second.sendall(OK)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    connection = Connection("127.0.0.1", listener.getsockname()[1], 5)
    assert connection.request(method, "/").body == b"hi"
    if method == "GET":
        assert connection.request(method, "/").body == b"hi"
    else:
        with pytest.raises(Unavailable, match="broke off"):
            connection.request(method, "/")
    thread.join(5)
    connection.close()
    listener.close()
    assert len(seen) == asked


@pytest.mark.parametrize("broken", [b"", OK[:-1], b"HTTP/1.1 200 OK\r\ncontent-"])
def test_a_reply_that_breaks_off(broken):
    server = Scripted(broken)
    connection = Connection("127.0.0.1", server.port, 5)
    with pytest.raises(Unavailable, match="broke off"):
        connection.request("GET", "/")
    server.close()


def test_a_server_that_does_not_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection("127.0.0.1", listener.getsockname()[1], 0.05)
        with pytest.raises(Unavailable, match="timed out"):
            connection.request("GET", "/")


def test_several_outputs_are_told_by_name(tmp_path):
    from dataclasses import replace

    from served import WINE

    from headrace.models.signature import Column

    both = replace(WINE, outputs=(*WINE.outputs, Column("price", "float32")))

    def two(batch):
        return {**constant(1.0)(batch), "price": constant(2.0)(batch)["quality"]}

    deployed = endpoint(("wine@3", 2.0))
    with gated(tmp_path, deployed, {"wine@3": model("wine@3", two, fast=True, signature=both)}) as gate:
        assert gate.client.predict("wine", rows=[ROW]).values == [{"quality": 1.0, "price": 2.0}]
        columns = {name: [value] for name, value in ROW.items()}
        assert gate.client.predict("wine", columns=columns).values == {"quality": [1.0], "price": [2.0]}


@pytest.fixture
def half(tmp_path):
    """A model with two signatures, and one parameter."""
    x = (Tensor("x", "float32", (-1,)),)
    negative = Signature("tensor", x, (Tensor("z", "float32", (-1,)),), "negative")
    signature = Signature("tensor", x, (Tensor("y", "float32", (-1,)),), others=(negative,))
    found = Gated(tmp_path, ("half",))
    functions = {"": lambda batch: {"y": batch["x"] / 2}, "negative": lambda batch: {"z": -batch["x"]}}
    found.flip(Endpoint("half", (Preference("half@1", 2.0),), 3.0), {"half@1": several("half@1", functions, signature)})
    yield found.client
    found.close()


def test_a_signature_is_asked_by_name(half):
    assert half.predict("half", rows=[3.0]).values == [1.5]
    assert half.predict("half", rows=[3.0], signature="negative").values == [-3.0]
    assert half.predict("half", columns={"x": [3.0]}, signature="negative", version=1).values == [-3.0]
    _, outputs = half.infer("half", {"x": np.array([3.0], np.float32)}, signature="negative")
    assert outputs["z"].tolist() == [-3.0]
    with pytest.raises(SignatureError, match='key "other" not found'):
        half.predict("half", rows=[3.0], signature="other")


def test_params_that_no_model_takes_are_no_answer(gate):
    with pytest.raises(SignatureError, match="params factor, up were not used - the model declares none"):
        gate.client.predict("wine", rows=[ROW], params={"factor": 2.0, "up": True})
    assert gate.client.predict("wine", rows=[ROW], params={}).values == [147.5]
