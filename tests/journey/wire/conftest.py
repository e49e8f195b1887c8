import numpy as np
import pytest
from server_process import serving
from tensor_served import onnx_double
from wine_project import WineProject

from headrace.delivery.deploy import deploy
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.serving.endpoint import Endpoint, Preference

PIXELS = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
PORTS = ("--grpc-port", "0", "--control-port", "0", "--control-grpc-port", "0")
VERTEX = ("env", "AIP_PREDICT_ROUTE=/predict", "AIP_HEALTH_ROUTE=/alive")


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The endpoint ``wine`` of three named columns, and ``double`` of one tensor of ``[-1, 2, 3]``."""
    root = tmp_path_factory.mktemp("wire") / "project"  # nobody else writes beside it
    root.mkdir()
    opened = WineProject(root)
    opened.deploy(opened.register(1.0), deadline_s=2.0)
    artifact = Artifact("onnx", {"model.onnx": onnx_double()}, ("x",), ("y",))
    asked = Registration("double", {"x": PIXELS}, "CC0-1.0", answers={"y": PIXELS * 2})
    double = register(opened.platform.stores(), artifact, asked)
    deploy(opened.platform.ledger(), Endpoint("double", (Preference(str(double), 1.0),), 2.0), who="test")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def server(project):
    """A gateway process with every port and protocol; ``wine`` is its first endpoint."""
    with serving(project.root, "--endpoint", "wine", "--endpoint", "double", *PORTS, before=VERTEX) as found:
        yield found
