"""An endpoint with a registered model, a training profile and a request log, written without a server."""

import msgspec
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest

from headrace.assembly import open_platform
from headrace.datasets.profile import profile
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.refs import new_id
from headrace.serving.deployment import KIND, Deployment
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.log import Answered, topic
from headrace.settings import Settings
from headrace.storage.ledger import Fact
from headrace.storage.stream import Record

TRAINING_ROWS = 2000


def sensors(rng, rows, *, warmer=0.0):
    """Rows of three inputs; ``heat`` moves with ``warmer``, the others never do."""
    return {
        "heat": (rng.normal(20 + warmer, 3, rows)).tolist(),
        "load": rng.integers(0, 5, rows).astype(float).tolist(),
        "site": rng.choice(["north", "south"], rows).tolist(),
    }


class Endpoints:
    """The engines, and a hand that writes the log as the data plane does."""

    def __init__(self, platform):
        self.stores, self.stream, self.ledger = platform.stores(), platform.stream(), platform.ledger()

    def deploy(self, name="wear", *, profiled=True, **more):
        rng = np.random.default_rng(0)
        rows = nw.from_native(pa.table(sensors(rng, TRAINING_ROWS)))
        artifact = Artifact("onnx", {"model.onnx": name.encode()}, ("heat", "load", "site"), ("wear",))
        seen = profile(rows).to_json() if profiled else None
        asked = Registration(name, example=rows.head(5), licence="CC0-1.0", profile=seen)
        version = register(self.stores, artifact, asked)
        reference = more.get("reference", "")
        endpoint = Endpoint(name, (Preference(name, 0.02),), 0.05, {"wear": 0.5}, event_time="seen", **more)
        models = {name: str(version)} | ({reference: f"{reference}@1"} if reference else {})
        deployed = Deployment(endpoint, models, who="test", why="test")
        self.ledger.append([Fact(KIND, name, deployed.to_json())])
        return version

    def ask(self, columns, *, when, answers, name="wear", winner="wear@1", reference=(), error=""):
        """Log one request a row, with the score of ``old@1`` where there is one; returns their ids."""
        rows = len(when)
        ids = [new_id() for _ in range(rows)]
        records = []
        for i, identifier in enumerate(ids):
            entry = Answered(
                names=(*columns, "seen"),
                cells=[[*(cells[i] for cells in columns.values()), when[i]]],
                event_time=True,
                outputs={"wear": [answers[i]]},
                winner=winner,
                reason="",
                elapsed_s=0.001,
                scores=[
                    ("wear@1", {} if error else {"wear": [answers[i]]}, 0.001, error),
                    *[("old@1", {"wear": [score]}, 0.001, "") for score in reference[i : i + 1]],
                ],
                waiting=[],
                deployment=1,
            )
            records.append(Record(identifier, msgspec.msgpack.encode(entry), 0))
        self.stream.append(topic(name), records)
        return ids


@pytest.fixture
def sensors_of():
    """Makes rows like those of the training data; always the same ones in the same order."""
    rng = np.random.default_rng(7)
    return lambda rows, warmer=0.0: sensors(rng, rows, warmer=warmer)


@pytest.fixture
def endpoints(tmp_path):
    """Endpoints of the project in ``tmp_path``."""
    platform = open_platform(Settings(root=tmp_path, workers=1))
    yield Endpoints(platform)
    platform.close()
