"""A project with registered wine models, for tests that start a real gateway."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from served import onnx_artifact, onnx_linear

from headrace.assembly import open_platform
from headrace.delivery.deploy import deploy
from headrace.errors import HeadraceError
from headrace.models.registry import Registration, register
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import load_settings

COLUMNS = {"alcohol": [9.5, 12.0], "density": [0.99, 1.0], "ph": [3.1, 3.4]}
ROW = {name: values[0] for name, values in COLUMNS.items()}


class WineProject:
    """A project folder with the platform opened on it; ``settings`` is its headrace.toml."""

    def __init__(self, root: Path, settings: str = ""):
        (root / "headrace.toml").write_text(settings)
        self.root = root
        self.platform = open_platform(load_settings(root))

    def register(self, bias, *, claimed=0.0, name="wine", columns=COLUMNS, cold=False):
        """Register the model ``alcohol + 10 density + 100 ph + bias``, or of the first of these columns.

        ``claimed`` falsifies its recorded answers; one that is ``cold`` cannot score a row.
        """
        artifact = onnx_artifact(columns, [1, 10, 100][: len(columns)], bias, claimed=claimed)
        if cold:
            artifact.files["model.onnx"] = onnx_linear([1] * (len(columns) + 1))
        asked = Registration(name=name, example=pl.DataFrame(columns), licence="CC0-1.0")
        return register(self.platform.stores(), artifact, asked)

    def deploy(self, *versions, endpoint="wine", gates=(), **more):
        """Deploy an endpoint with these versions as its schedule."""
        schedule = tuple(Preference(str(v), 0.02 * (i + 1)) for i, v in enumerate(versions))
        asked = Endpoint(endpoint, schedule, more.pop("deadline_s", 0.05), {"quality": 5.0}, **more)
        return deploy(self.platform.ledger(), asked, who="test", gates=gates)

    def answer(self, bias):
        """What the model with this bias answers for ``ROW``."""
        return ROW["alcohol"] + 10 * ROW["density"] + 100 * ROW["ph"] + bias

    def model_file(self, version):
        """The stored ONNX file of a version."""
        from headrace.models.registry import fetch

        return fetch(self.platform.files(), version) / "model.onnx"

    def close(self):
        self.platform.close()


def until(holds, within_s=30.0):
    """Wait until ``holds()``; fail when it takes too long."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def asking(client, endpoint="wine", row=ROW):
    """Ask an endpoint without a pause; yields who answered, or what went wrong."""
    winners, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                winners.append(client.predict(endpoint, rows=[row]).winner)
            except HeadraceError as error:
                winners.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield winners
    finally:
        stop.set()
        thread.join()
