"""TensorFlow Serving's HandleReloadConfigRequest, over a watched folder of ONNX files."""

import json
import shutil

import grpc
import numpy as np
import pytest
from rpc_served import rpc_channel
from served import Gated
from tensor_served import onnx_double
from wine_project import until

from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.gateway.access import Access
from headrace.gateway.control import Control
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.placement.access import Scope, Tokens
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper
from headrace.serving.scratch import Scratch

X = np.ones((1, 2, 3), np.float32)
METHOD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/models.toml").write_text("poll_s = 0.02\n[model.one]\nmax_batch_rows = 8")
    for name, number in (("one", 1), ("one", 2), ("one", 3), ("two", 1)):
        where = tmp_path / "models" / name / str(number)
        where.mkdir(parents=True)
        (where / "model.onnx").write_bytes(onnx_double())
    return tmp_path / "models"


@pytest.fixture
def gate(folder, tmp_path):
    found = Gated(tmp_path / "stream", ())
    post, onnx = found.loop.call_soon_threadsafe, OnnxRuntime()

    def moved(*move):
        post(found.plane.move, *move)

    found.folder = FolderSource(folder, runtime=lambda _: onnx, scratch=Scratch(tmp_path / "scratch"), moved=moved)
    found.keeper = Keeper(found.plane, [found.folder], post=post)
    found.keeper.start()
    until(lambda: len(found.plane.names) == 2 and found.client.ready())
    yield found
    found.keeper.stop()
    found.close()


@pytest.fixture
def reload(gate, tmp_path):
    tokens = Tokens(tmp_path)
    mine = (("authorization", f"Bearer {tokens.make('ci', [Scope.DEPLOY])}"),)
    with rpc_channel(gate, Control(gate.keeper, gate.folder), Access(tokens)) as channel:
        method = channel.unary_unary(
            METHOD,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=SERVING.ReloadConfigResponse.FromString,
        )

        def ask(*configs, metadata=mine):
            listed = SERVING.ModelConfigList(config=[SERVING.ModelConfig(**config) for config in configs])
            config = SERVING.ModelServerConfig(model_config_list=listed)
            return method(SERVING.ReloadConfigRequest(config=config), timeout=20, metadata=metadata)

        ask.raw, ask.mine = method, mine
        yield ask


def policy(**said):
    return SERVING.ServableVersionPolicy(**said)


ALL = policy(all=SERVING.All())


def loaded(gate, name):
    return [number for number, note in gate.plane.status(name).own.items() if note.state == "available"]


def test_versions_and_labels_are_there_when_it_answers(gate, reload):
    one = {"name": "one", "model_platform": "tensorflow", "model_version_policy": ALL}
    done = reload({**one, "version_labels": {"stable": 2, "canary": 3}})
    assert done.status.error_code == 0
    assert loaded(gate, "one") == [3, 2, 1]
    reply = gate.client.request("GET", "/v1/models/one/labels/stable")
    assert json.loads(reply.body)["model_version_status"][0]["version"] == "2"
    assert gate.plane.live("one").deployment.endpoint.batching.max_batch_rows == 8  # what the file says besides holds
    until(lambda: gate.plane.names == ("one",))  # a model that it does not name is served no more
    reload({"name": "one", "model_version_policy": policy(specific=SERVING.Specific(versions=[1]))}, {"name": "two"})
    assert (loaded(gate, "one"), loaded(gate, "two")) == ([1], [1])
    assert gate.client.infer("one", {"x": X})[0].winner == "one@1"
    assert gate.client.request("GET", "/v1/models/one/labels/stable").status == 400
    reload({"name": "one", "model_version_policy": policy(latest=SERVING.Latest(num_versions=2))}, {"name": "two"})
    assert loaded(gate, "one") == [3, 2]


def test_it_holds_until_the_file_changes(gate, reload, folder):
    reload({"name": "one", "model_version_policy": ALL})
    (folder / "models.toml").write_text("poll_s = 0.02")
    until(lambda: loaded(gate, "one") == [3] and len(gate.plane.names) == 2 and gate.client.ready())


@pytest.mark.parametrize(
    ("config", "code", "says"),
    [
        ({"name": "three"}, "NOT_FOUND", "it has one, two"),
        ({"name": "../models/one"}, "NOT_FOUND", "has no model"),
        ({"name": "one", "base_path": "/etc"}, "INVALID_ARGUMENT", "paths are not taken from callers"),
        ({"name": "one", "base_path": "gs://bucket/one"}, "INVALID_ARGUMENT", "paths are not taken from callers"),
        ({"name": "one", "version_labels": {"stable": 2}}, "INVALID_ARGUMENT", "version is not loaded"),
        ({"name": "one", "version_labels": {"a b": 3}}, "INVALID_ARGUMENT", "label 'a b' is not allowed"),
        (
            {"name": "one", "model_version_policy": policy(specific=SERVING.Specific(versions=[9]))},
            "UNAVAILABLE",
            "one@9: its folder is not there",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_why(gate, reload, config, code, says):
    with pytest.raises(grpc.RpcError) as refused:
        reload(config)
    assert refused.value.code().name == code
    assert says in refused.value.details()


def test_a_refused_configuration_changes_nothing(gate, reload, folder):
    with pytest.raises(grpc.RpcError):
        reload({"name": "one", "model_version_policy": ALL}, {"name": "three"})
    with pytest.raises(grpc.RpcError):
        reload({"name": "one", "model_version_policy": ALL}, {"name": "one"})
    gate.keeper.look(gate.folder)
    gate.keeper.load("one").result(10)
    assert (loaded(gate, "one"), loaded(gate, "two")) == ([3], [1])
    own = {"name": "one", "base_path": str(folder / "one")}  # where it is, is no other place
    assert reload(own, {"name": "two"}).status.error_code == 0


def test_a_version_that_fails_is_told_and_the_others_serve(gate, reload, folder):
    broken = folder / "one/4"
    shutil.copytree(folder / "one/3", broken)
    (broken / "model.onnx").write_bytes(onnx_double()[:-20])
    until(lambda: "one@4" in gate.plane.status("one").versions)
    with pytest.raises(grpc.RpcError) as refused:
        reload({"name": "one", "model_version_policy": ALL})
    assert "one@4: " in refused.value.details()
    assert loaded(gate, "one") == [3, 2, 1]


def test_only_who_has_the_token_is_heard(gate, reload):
    for metadata in ((), (("authorization", "Bearer x"),)):
        with pytest.raises(grpc.RpcError) as refused:
            reload({"name": "one"}, metadata=metadata)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as empty:
        reload.raw(SERVING.ReloadConfigRequest(), timeout=10, metadata=reload.mine)
    assert "a model_config_list is due" in empty.value.details()
