"""Names from outside lead nowhere: in every field of a URL, a message, a reference and a path."""

import os
import socket
from collections import Counter
from urllib.parse import quote

import grpc
import pytest
from path_tricks import plain_tricks, tricks
from wine_project import ROW

from headrace.errors import HeadraceError, NameRefused
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.placement.tokens import NAME
from headrace.refs import Ref, checked_name, checked_path, contained

BODY = b'{"instances": [{"alcohol": 9.5, "density": 0.99, "ph": 3.1}]}'
FIELDS = {
    "a model to predict with": ("POST", "/v1/models/%s:predict"),
    "a version": ("POST", "/v1/models/wine/versions/%s:predict"),
    "a label": ("POST", "/v1/models/wine/labels/%s:predict"),
    "a model to read": ("GET", "/v1/models/%s/metadata"),
    "a model to infer with": ("POST", "/v2/models/%s/infer"),
    "a version to infer with": ("POST", "/v2/models/wine/versions/%s/infer"),
    "a model's readiness": ("GET", "/v2/models/%s/ready"),
    "a path": ("GET", "/%s"),
}
CONTROLS = {
    "a model to load": ("POST", "/v2/repository/models/%s/load"),
    "a model to unload": ("POST", "/v2/repository/models/%s/unload"),
}
OWN_FAULTS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "CANCELLED", "DEADLINE_EXCEEDED"}
# What stands in the files that the tricks aim at.
SECRETS = (b"root:x:", b"PATH=", b"[serving]")


def everything(folder):
    """Every file, but those of the cache and the request log, which the server makes when it likes."""
    return {path for path in folder.rglob("*") if not {"cache", "stream"} & set(path.parts)}


def statuses(port, method, path, headers=b"", body=BODY):
    """How often each status came, for every trick in its place."""
    seen = Counter()
    for trick in tricks():
        target = (path % quote(trick, safe="%/\\:?[]*;~$`()'")).encode()
        message = method.encode() + b" " + target + b" HTTP/1.1\r\nhost: localhost\r\n" + headers
        message += b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(message)
            reply = b""
            while piece := connection.recv(65536):
                reply += piece
        assert not any(secret in reply for secret in SECRETS), trick
        if target.partition(b"?")[0] != b"/":  # a trick that is a query only leads to the front page
            seen[int(reply[9:12])] += 1
    return seen


def test_there_are_enough():
    assert len(tricks()) > 500


@pytest.mark.parametrize("field", FIELDS)
def test_in_urls(server, project, field):
    before = everything(project.root.parent)
    seen = statuses(server.port, *FIELDS[field])
    assert all(400 <= status < 500 for status in seen), seen
    assert everything(project.root.parent) == before


@pytest.mark.parametrize("field", CONTROLS)
def test_on_the_control_port(server, project, field):
    before = everything(project.root.parent)
    token = (project.root / ".headrace" / NAME).read_bytes().strip()
    port = int(server.control.rpartition(":")[2])
    seen = statuses(port, *CONTROLS[field], b"authorization: Bearer " + token + b"\r\n", b"{}")
    assert all(400 <= status < 500 for status in seen), seen
    assert everything(project.root.parent) == before


def messages(trick):
    """Method and message for each field of each service that takes a name."""
    inference, serving = "/inference.GRPCInferenceService/", "/tensorflow.serving."
    spec = {"name": trick}
    yield inference + "ModelInfer", INFERENCE.ModelInferRequest(model_name=trick)
    yield inference + "ModelReady", INFERENCE.ModelReadyRequest(name="wine", version=trick)
    yield inference + "ModelConfig", INFERENCE.ModelConfigRequest(name=trick)
    yield serving + "PredictionService/Predict", SERVING.PredictRequest(model_spec=spec)
    yield (
        serving + "PredictionService/Predict",
        SERVING.PredictRequest(model_spec={"name": "wine", "version_label": trick}),
    )
    yield serving + "ModelService/GetModelStatus", SERVING.GetModelStatusRequest(model_spec=spec)


def code(channel, method, message, metadata=()):
    try:
        channel.unary_unary(method)(message.SerializeToString(), timeout=10, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_over_grpc(server):
    with grpc.insecure_channel(server.rpc) as channel:
        seen = Counter(code(channel, *asked) for trick in plain_tricks() for asked in messages(trick))
    assert not seen.keys() & (OWN_FAULTS | {"OK"}), seen


def test_over_grpc_on_the_control_port(server, project):
    token = (project.root / ".headrace" / NAME).read_text().strip()
    metadata = (("authorization", f"Bearer {token}"),)
    loads = [
        (f"/inference.GRPCInferenceService/RepositoryModel{verb}", getattr(INFERENCE, f"RepositoryModel{verb}Request"))
        for verb in ("Load", "Unload")
    ]
    with grpc.insecure_channel(server.control_rpc) as channel:
        seen = Counter(
            code(channel, method, kind(model_name=trick), metadata)
            for trick in plain_tricks()
            for method, kind in loads
        )
    assert not seen.keys() & (OWN_FAULTS | {"OK"}), seen


def test_in_references_and_paths(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "headrace.toml").write_text("secret = 1")
    (root / "link").symlink_to(tmp_path)
    inside = os.path.realpath(root)
    for trick in plain_tricks():
        for read in (checked_name, checked_path, Ref.parse):
            try:
                read(trick)
            except NameRefused:
                continue
            assert os.path.realpath(root / trick).startswith(inside + os.sep), trick
        try:
            path = contained(root, trick)
        except NameRefused:
            continue
        assert os.path.realpath(path) == inside or os.path.realpath(path).startswith(inside + os.sep), trick


def test_in_names_of_what_is_kept(project):
    """Datasets and models: a name that is refused is so before anything is written."""
    before = everything(project.root)
    for trick in plain_tricks():
        if not trick or "/" not in trick.replace("\\", "/").replace("\0", "/"):
            continue
        with pytest.raises((HeadraceError, ValueError)):
            project.register(2.0, name=trick)
    assert everything(project.root) == before


def test_it_still_answers(server, project):
    assert server.client.predict("wine", rows=[ROW]).values[0] == pytest.approx(project.answer(1.0))
    assert "Traceback" not in server.said(), server.said()[-3000:]
