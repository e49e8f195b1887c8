"""Traffic of a soak: each kind with what may come of it."""

import json
from collections import Counter
from dataclasses import dataclass

from load import Load, predict
from mixed_project import WINE, asked
from rpc_load import RpcLoad, infer
from wine_project import ROW

PAUSE_S = 0.004
WITHIN_S = 30.0
_TENSORS = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in ROW.items()]
WORKERS = ("steady", "shaky", "fragile")


def message(path, body, kind="application/json"):
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _json(path, value):
    return message(path, json.dumps(value).encode())


BAD = [
    predict("wine", b'{"instances": [{'),
    predict("wine", b""),
    predict("wine", json.dumps({"instances": [{**ROW, "colour": "red"}]}).encode()),
    predict("wine", json.dumps({"instances": [{**ROW, "ph": "sour"}]}).encode()),
    predict("wine", b'{"instances": [{"alcohol": NaN, "density": 1, "ph": 1e400}]}'),
    predict("wine", b"[" * 50_000),
    predict("nobody", b"{}"),
    predict("..%2f..%2fetc", b"{}"),
    _json("/v2/models/wine/infer", {"inputs": [{**_TENSORS[0], "shape": [1 << 40]}]}),
    b"POST /v1/models/wine:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 17825792\r\n\r\n",
    b"POST /v1/models/wine:predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /metrics HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"NONSENSE\r\n\r\n",
]


@dataclass
class Traffic:
    """One kind of it.

    Attributes:
        name: What it is called in the report.
        load: What sends it.
        winners: Who may answer; a model by its name without its version, or ``default``.
        statuses: What else may come of it than 200.
        logged: Whether each of its answers is promised to be in the log of ``wine``.
    """

    name: str
    load: Load | RpcLoad
    winners: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    logged: bool = False

    def unexplained(self):
        """What came of it that should not have, with how often."""
        return Counter({str(key): count for key, count in self.load.seen.items() if not self._may_be(key)})

    def _may_be(self, key):
        if key == ("OK", "") or key[0] == "DEADLINE_EXCEEDED":  # the log says whether that is explained
            return True
        if not isinstance(key, tuple) or not isinstance(key[0], int):  # dropped, or a call that failed
            return False
        status, winner = key
        return status in self.statuses if status != 200 else winner.partition("@")[0] in self.winners


def begun(server):
    """All kinds of traffic, under way."""

    def http(requests, connections, *, keep=False):
        return Load(server.port, requests, connections=connections, keep=keep, pause_s=PAUSE_S)

    lines = json.dumps({"dataframe_records": [ROW]}).encode()
    csv = f"{','.join(ROW)}\n{','.join(map(str, ROW.values()))}\n".encode()
    return [
        Traffic("TensorFlow Serving, logged", http([WINE], 2, keep=True), ("wine",), logged=True),
        Traffic(
            "Open Inference, logged",
            http([_json("/v2/models/wine/infer", {"inputs": _TENSORS})], 1, keep=True),
            ("wine",),
            logged=True,
        ),
        Traffic(
            "MLflow, logged",
            http([message("/invocations", lines), message("/invocations", csv, "text/csv")], 1, keep=True),
            ("wine",),
            logged=True,
        ),
        Traffic(
            "gRPC, logged", RpcLoad(server.rpc, [infer("wine", ROW)], pause_s=PAUSE_S, within_s=WITHIN_S), logged=True
        ),
        Traffic("not logged", http([predict("bulk", WINE.partition(b"\r\n\r\n")[2])], 8), ("wine",)),
        Traffic("models in workers", http([asked(name) for name in WORKERS], 4), (*WORKERS, "default")),
        Traffic(
            "loaded and unloaded",
            http([predict("spare", WINE.partition(b"\r\n\r\n")[2])], 1),
            ("wine",),
            statuses=(503,),
        ),
        Traffic("what is refused", http(BAD, 2), statuses=(400, 403, 404, 413)),
    ]
