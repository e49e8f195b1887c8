"""Probes: each part of the lifecycle is made to do its work once, and says how that went."""

import base64
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from headrace.client import Client
from headrace.client.overview import Overview
from headrace.errors import Conflict, HeadraceError, MissingExtra, Unavailable
from headrace.features.view import FeatureView
from headrace.journey.layers import chosen
from headrace.journey.platform import Platform
from headrace.journey.scoreboard import client_of, gateway_client
from headrace.models.aliases import verify_all
from headrace.models.runtime import Batch
from headrace.models.signature import Column, Signature
from headrace.placement.gateway import elsewhere
from headrace.refs import new_id
from headrace.serving.deployment import history
from headrace.serving.log import topic
from headrace.settings import shown
from headrace.storage.ledger import Fact
from headrace.storage.stream import Record, sample
from headrace.training.mirror import pending
from headrace.tuning.sampler import Dimension, Study

WITHIN_S = 8.0
"""All probes together; whoever has not answered by then has failed."""

PROBED = "doctor.probed"
_TOPIC = "doctor"
# A model of 114 bytes that adds two columns (ONNX opset 11): a runtime can be tried before any model is registered.
ADDS_TWO_COLUMNS = base64.b64decode(
    "CAYSADpmCjcKB251bWJlcnMSA3N1bSIJUmVkdWNlU3VtKgsKBGF4ZXNAAaABByoPCghrZWVwZGltcxgAoAECEgFnWhcKB251bWJlcnMSDAoKCAESBgoA"
    "CgIIAmIPCgNzdW0SCAoGCAESAgoAQgQKABAL"
)


@dataclass(frozen=True)
class Component:
    """How one part of the lifecycle is.

    Attributes:
        name: What it is in the lifecycle: ``ledger``, ``gateway``.
        engine: Which engine fulfils it here.
        state: ``ok``: it did its work just now. ``FAIL``: it should have and did not. ``off``: not installed, not
            chosen or not started.
        detail: What was tried and seen.
        fix: What to type when it failed.
    """

    name: str
    engine: str
    state: Literal["ok", "FAIL", "off"]
    detail: str
    fix: str = ""


Probe = Callable[[Platform], str]
"""Does something real and says what; raises when that fails, or ``Off`` when there is nothing to try."""


class Off(Exception):
    """There is nothing to try: not installed, not chosen, not started."""


def probe_all(platform: Platform, *, within_s: float = WITHIN_S) -> list[Component]:
    """Try every part side by side; a part that does not answer in time has failed."""
    with suppress(HeadraceError):  # its probe says so
        platform.ledger()  # opened once, before the probes share it
    answers: dict[str, Component] = {}
    threads = []
    for name in PROBES:
        thread = threading.Thread(target=_try, args=(platform, name, answers), daemon=True)
        thread.start()
        threads.append(thread)
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer within {within_s:g} s"
    return [
        answers.get(name)
        or Component(
            name,
            chosen(platform.settings, PROBES[name][0]),
            "FAIL",
            silent,
            "headrace config list shows what was chosen for it",
        )
        for name in PROBES
    ]


def _try(platform: Platform, name: str, answers: dict[str, Component]) -> None:
    port, probe = PROBES[name]
    engine = chosen(platform.settings, port)
    try:
        answers[name] = Component(name, engine, "ok", probe(platform))
    except Off as off:
        answers[name] = Component(name, engine, "off", str(off))
    except MissingExtra as missing:
        answers[name] = Component(name, engine, "off", missing.what, missing.fix)
    except HeadraceError as error:
        answers[name] = Component(
            name, engine, "FAIL", f"{error.what}: {error.why}" if error.why else error.what, error.fix
        )
    except Exception as error:  # noqa: BLE001 - whatever a broken part raises is its state
        answers[name] = Component(name, engine, "FAIL", f"{type(error).__name__}: {error}", "headrace config list")


def _ledger(platform: Platform) -> str:
    (written,) = platform.ledger().append([Fact(PROBED, "ledger", {"pid": os.getpid()})])
    read = platform.ledger().query(PROBED, "ledger", after=written.seq - 1, newest=1)
    if not read or read[-1].seq < written.seq:
        raise Unavailable("a fact was written and cannot be read back")
    moves = verify_all(platform.ledger())
    return f"wrote and read fact {written.seq}" + (f"; {moves} moves of aliases are as they were made" if moves else "")


def _files(platform: Platform) -> str:
    key, content = f"doctor/{new_id()}", os.urandom(1024)
    files = platform.files()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe"
        source.write_bytes(content)
        files.put(source, key)
    back = files.get(key, keep=False).read_bytes()
    files.delete(key)
    if back != content:
        raise Unavailable("an object came back with other bytes than were put")
    return f"put, read and removed {len(content)} bytes"


def _tables(platform: Platform) -> str:
    import narwhals as nw

    with tempfile.TemporaryDirectory() as folder:
        source, stored = Path(folder) / "probe.csv", Path(folder) / "probe.parquet"
        source.write_text("part,amount\na,1\nb,2\na,3\n")
        platform.tables().ingest(source, stored)
        frame = platform.tables().scan([stored])
        total = frame.filter(nw.col("part") == "a").select(nw.col("amount").sum()).collect().item()
    if total != 1 + 3:
        raise Unavailable("a query over three rows gave a wrong sum", why=f"{total} where 4 is due")
    return "ingested and queried 3 rows"


def _online(platform: Platform) -> str:
    store, mark = platform.online(), new_id()
    with suppress(Conflict):  # another probe writes it now
        store.write(FeatureView(_TOPIC, mark, {"entity": "string"}, {"n": "int64"}, 1), iter([(("a",), (3,))]))
    if store.read(_TOPIC, [("a",)]).rows[0] != (3,):
        raise Unavailable("features were written and cannot be read back")
    newest = {deployment.endpoint.name: deployment.endpoint for deployment in history(platform.ledger())}
    joined = sorted({join.view for endpoint in newest.values() for join in endpoint.join})
    for view in joined:
        store.read(view, ())
    return "wrote and read features" + (f"; endpoints can join {', '.join(joined)}" if joined else "")


def _executor(platform: Platform) -> str:
    executor = platform.executor()
    other = executor.submit(os.getpid).result(timeout=WITHIN_S)
    if other == os.getpid():
        raise Unavailable("a step would run in this process, not in a worker")
    return f"a worker process answered; {executor.slots} at once"


def _sampler(platform: Platform) -> str:
    rate = Dimension("log_uniform", low=0.01, high=1.0)
    (proposal,) = platform.sampler().ask(Study({"rate": rate}, maximize=True), [({"rate": 0.1}, 0.5)], count=1)
    if not rate.low <= proposal["rate"] <= rate.high:
        raise Unavailable("a proposed setting lies outside its space", why=str(proposal))
    return "proposed a setting"


def _converter(platform: Platform) -> str:
    platform.converter("sklearn")
    return "ready to export"


def _tracking(platform: Platform) -> str:
    tracking = platform.tracking()
    if tracking is None:
        raise Off("training runs are in the ledger only; pip install 'headrace[mlflow]' mirrors them")
    waiting = len(pending(platform.ledger(), tracking.address()))
    return f"mirrors to {tracking.address()}" + (f"; {waiting} facts wait to be written" if waiting else "")


def _runtime(platform: Platform) -> str:
    import numpy as np

    signature = Signature("table", (Column("a", "float32"), Column("b", "float32")), (Column("sum", "float32"),))
    batch: Batch = {"numbers": np.array([[1, 2]], dtype=np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(ADDS_TWO_COLUMNS)
        model = platform.runtime("onnx").load(Path(folder), signature)
        answer = float(model.score(batch)["sum"][0])
        model.close()
    if answer != 1 + 2:
        raise Unavailable("a model that adds gave a wrong sum", why=f"{answer} where 3 is due")
    return "loaded and scored a model"


def _stream(platform: Platform) -> str:
    stream = platform.stream()
    mark = new_id()
    offset = stream.append(_TOPIC, [Record(mark, b"probe", time.time_ns() // 1_000_000)])
    if [record.offset for record in stream.find(_TOPIC, mark)] != [offset]:
        raise Unavailable("a record was appended and cannot be found")
    names = sorted({deployment.endpoint.name for deployment in history(platform.ledger())})
    read = sum(sample(stream, topic(name)) for name in names)
    return f"appended and found record {offset}" + (f"; read {read:,} of logged requests" if read else "")


def _gateway(platform: Platform) -> str:
    if elsewhere(named := platform.settings.gateway):
        _looked_at(gateway_client(platform, WITHIN_S / 4), shown(named))
        return f"ready at {shown(named)}"
    state = platform.services().state(platform.settings.gateway)
    if state.state == "stopped":
        endpoints = sorted({d.endpoint.name for d in history(platform.ledger())})
        raise Off(
            f"not started; headrace serving run serves {', '.join(endpoints)}" if endpoints else "nothing deployed"
        )
    if state.state == "failed":
        why = f"its log ends: {state.detail}" if state.detail else ""
        raise Unavailable("the gateway died", why=why, fix="headrace serving run")
    _looked_at(client_of(platform, state, WITHIN_S / 4), state.address)
    return f"ready at {state.address} ({f'{state.detail}; ' * bool(state.detail)}pid {state.pid})"


def _looked_at(gateway: Client, address: str) -> None:
    with gateway as client:
        _answers(client, address)
        _in_order(client.overview(), address)


def _in_order(found: Overview, address: str) -> None:
    """Raise ``Unavailable`` when a gateway cannot log what it answers, or have it scored, or was told what is void."""
    if found.unfollowed:
        raise Unavailable(
            "the gateway does not follow what is deployed", where=address, why=found.unfollowed,
            fix="start the ledger again: that is all; what serves goes on meanwhile",
        )  # fmt: skip
    if found.warnings:
        raise Unavailable("settings of the watched folder change nothing", where=address, why=found.warnings[0])
    unlogged = {served.name: served.unlogged for served in found.endpoints if served.unlogged}
    if unlogged:
        raise Unavailable(
            f"requests of {', '.join(unlogged)} are answered without being logged",
            where=address,
            why=next(iter(unlogged.values())),
            fix="make space on the disk, or start the brokers: that is all; headrace monitor alerts tells since when",
        )
    unscored = {v.name: v.why for one in found.endpoints for v in one.versions if v.state == "available" and v.why}
    if unscored:
        raise Unavailable(
            f"{', '.join(unscored)} cannot score where it should",
            where=address,
            why=next(iter(unscored.values())),
            fix="headrace serving ls shows how each model runs",
        )


def _answers(client: Client, address: str) -> None:
    """Raise ``Unavailable`` unless the gateway says soon that it is ready."""
    where, fix = f"{address}/v2/health/ready", "headrace serving run"
    try:
        status = client.request("GET", "/v2/health/ready").status
    except Unavailable as error:
        raise Unavailable("the gateway does not answer", where=where, why=error.why, fix=fix) from error
    if status != HTTPStatus.OK:
        raise Unavailable("the gateway is not ready", where=where, why=f"HTTP {status}", fix=fix)


PROBES: Mapping[str, tuple[str, Probe]] = {
    "ledger": ("ledger", _ledger),
    "files": ("files", _files),
    "tables": ("tables", _tables),
    "features": ("online", _online),
    "steps": ("executor", _executor),
    "search": ("sampler", _sampler),
    "export": ("converter", _converter),
    "tracking": ("tracking", _tracking),
    "scoring": ("runtime", _runtime),
    "request log": ("stream", _stream),
    "gateway": ("services", _gateway),
}
"""Component to its port and its probe, in the order of the lifecycle."""
