"""What goes wrong in a soak, one thing after another, drawn by a seeded generator."""

import os
import random
import resource
import signal
import socket
import threading
from collections import Counter
from contextlib import suppress

import fragile
from mixed_project import asked

from headrace.delivery.rollback import rollback
from headrace.errors import HeadraceError, NotFound
from soak.traffic import message

REST_S = (0.2, 1.5)
FROZEN_S = 1.0
FULL_S = 0.5
_SLOW = 50
_FEW_BYTES = 4096
_DEADLY = (fragile.SEGFAULT, fragile.EXIT, fragile.MEMORY, fragile.HANG, fragile.RAISE)


class Faults:
    """A thread that does harm until it is stopped.

    Args:
        project: The project that is served; ``wine`` has several versions.
        server: Its gateway.
        versions: Of ``wine``.
        control: A client of the control port, and its token.
        seed: What is drawn depends on it alone.

    Attributes:
        done: How often each kind of harm was done.
        errors: What went wrong with doing harm, which should not.
    """

    def __init__(self, project, server, versions, control, seed):
        self._project, self._server, self._versions, self._control = project, server, versions, control
        self._random = random.Random(seed)
        self._slow = []
        self._usual = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        self.done, self.errors = Counter(), []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        """Do no more, and leave nothing behind."""
        self._stop.set()
        self._thread.join()
        self._let_go()

    def _run(self):
        kinds = [
            self.kill_a_worker,
            self.freeze_a_worker,
            self.misbehave,
            self.deploy,
            self.roll_back,
            self.fill_the_disk,
            self.unload_and_load,
            self.send_slowly,
            self.ask_for_everything,
        ]
        while not self._stop.wait(self._random.uniform(*REST_S)):
            kind = self._random.choice(kinds)
            try:
                kind()
                self.done[kind.__name__.replace("_", " ")] += 1
            except (HeadraceError, AssertionError, OSError) as error:
                self.errors.append(f"{kind.__name__}: {type(error).__name__}: {error}")

    def _worker(self):
        found = self._server.workers()
        return self._random.choice(sorted(found)) if found else 0

    def kill_a_worker(self):
        if pid := self._worker():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze_a_worker(self):
        if pid := self._worker():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._stop.wait(FROZEN_S)
                os.kill(pid, signal.SIGCONT)

    def misbehave(self):
        body = asked("fragile", self._random.choice(_DEADLY)).partition(b"\r\n\r\n")[2]
        reply = self._server.client.raw("fragile", body)
        assert (reply.status, reply.header("x-headrace-winner")) == (200, "default"), reply

    def deploy(self):
        self._project.deploy(self._random.choice(self._versions), deadline_s=5.0)

    def roll_back(self):
        with suppress(NotFound):  # there is nothing before
            rollback(self._project.platform.ledger(), "wine")

    def fill_the_disk(self):
        resource.prlimit(self._server.pid, resource.RLIMIT_FSIZE, (_FEW_BYTES, self._usual[1]))
        try:
            self._stop.wait(FULL_S)
        finally:
            resource.prlimit(self._server.pid, resource.RLIMIT_FSIZE, self._usual)

    def unload_and_load(self):
        client, token = self._control
        for verb in ("unload", "load"):
            path = f"/v2/repository/models/spare/{verb}"
            reply = client.request("POST", path, b"", {"authorization": f"Bearer {token}"})
            assert reply.status == 200, reply.body

    def send_slowly(self):
        """Connections that stop in the middle of a request, until the next time."""
        self._let_go()
        whole = message("/v1/models/wine:predict", b"x" * 1000)
        for _ in range(_SLOW):
            connection = socket.create_connection(("127.0.0.1", self._server.port), 10)
            connection.sendall(whole[: self._random.randrange(1, len(whole))])
            self._slow.append(connection)

    def ask_for_everything(self):
        for method, path in (("GET", "/metrics"), ("GET", "/openapi.json"), ("POST", "/v2/repository/index")):
            reply = self._server.client.request(method, path)
            assert reply.status == 200, reply

    def _let_go(self):
        for connection in self._slow:
            connection.close()
        self._slow.clear()
