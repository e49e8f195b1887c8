"""JSON of 64 levels is read, of 65 refused, wherever a protocol takes what no type describes."""

import json

import pytest
from served import ROW, endpoint, gated, linear, model

from headrace.errors import UsageError
from headrace.gateway.control import _parameters
from headrace.gateway.depth import DEPTH_LIMIT, check_text, check_value
from headrace.gateway.oip import _only_ready
from headrace.gateway.vertex import VertexRoutes

ROWS, CELLS = json.dumps([ROW]), json.dumps(list(ROW.values()))
NAMES = json.dumps(list(ROW))
KINDS = {float: "FP64", str: "BYTES", int: "INT64", bool: "BOOL"}
TENSORS = [{"name": k, "shape": [1], "datatype": KINDS[type(v)], "data": [v]} for k, v in ROW.items()]
FIRST, REST = json.dumps(TENSORS[0])[1:-1], json.dumps(TENSORS[1:])[1:-1]
SPLIT = f'"columns": {NAMES}, "data": [{CELLS}]'
V1, OIP, MLFLOW = "/v1/models/wine", "/v2/models/wine/infer", "/invocations"

# Where a value that may be anything stands, %s, and how many levels are around it.
FREE = {
    "predict, a foreign field": (f"{V1}:predict", f'{{"other": %s, "instances": {ROWS}}}', 1),
    "predict, behind": (f"{V1}:predict", f'{{"instances": {ROWS}, "other": {{"]": %s}}}}', 2),
    "predict, parameters": (f"{V1}:predict", f'{{"instances": {ROWS}, "parameters": {{"a": %s}}}}', 2),
    "classify": (f"{V1}:classify", f'{{"examples": {ROWS}, "other": %s}}', 1),
    "Vertex, parameters": ("/vertex", f'{{"instances": {ROWS}, "parameters": {{"a": [1, %s]}}}}', 3),
    "infer, a foreign field": (OIP, f'{{"inputs": [{{{FIRST}}}, {REST}], "other": %s}}', 1),
    "infer, parameters": (OIP, f'{{"inputs": [{{{FIRST}}}, {REST}], "parameters": {{"a": %s}}}}', 2),
    "infer, of a tensor": (OIP, f'{{"inputs": [{{{FIRST}, "parameters": {{"a": %s}}}}, {REST}]}}', 4),
    "infer, a tensor's foreign field": (OIP, f'{{"inputs": [{{{FIRST}, "other": %s}}, {REST}]}}', 3),
    "infer, of an output": (
        OIP,
        f'{{"inputs": [{{{FIRST}}}, {REST}], "outputs": [{{"name": "quality", "parameters": {{"a": %s}}}}]}}',
        4,
    ),
    "MLflow, a foreign field": (MLFLOW, f'{{"dataframe_records": {ROWS}, "other": %s}}', 1),
    "MLflow, params": (MLFLOW, f'{{"dataframe_records": {ROWS}, "params": {{"a": %s}}}}', 2),
    "MLflow, an index": (MLFLOW, f'{{"dataframe_split": {{{SPLIT}, "index": %s}}}}', 2),
    "MLflow, within a split": (MLFLOW, f'{{"dataframe_split": {{{SPLIT}, "other": %s}}}}', 2),
    "MLflow, a list of inputs": (MLFLOW, f'{{"inputs": {ROWS}, "other": %s}}', 1),
}


def nested(levels):
    """A list of so many levels; its texts hold brackets that are none."""
    return '["]", ' * (levels - 1) + '["[{"' + "]" * levels


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The wine endpoint, also at a route of Vertex AI's."""
    folder, deployed = tmp_path_factory.mktemp("stream"), endpoint(("wine@3", 2.0), deadline_s=3.0)
    routes = VertexRoutes(predict="/vertex")
    with gated(folder, deployed, {"wine@3": model("wine@3", linear, fast=True)}, vertex=routes) as found:
        yield found


@pytest.mark.parametrize("where", FREE)
def test_64_levels_are_read_and_65_refused(post, where):
    path, body, around = FREE[where]
    kind = ["content-type: application/json"]
    assert post(path, (body % nested(DEPTH_LIMIT - around)).encode(), kind)[0] == 200
    status, reply = post(path, (body % nested(DEPTH_LIMIT + 1 - around)).encode(), kind)
    assert status == 400
    assert "nested too deep - at most 64 levels" in reply.get("error", reply.get("message"))


@pytest.mark.parametrize("read", [_only_ready, _parameters])
def test_so_it_is_on_ways_that_score_nothing(read):
    body = '{"ready": true, "other": %s}'
    read((body % nested(DEPTH_LIMIT - 1)).encode())
    with pytest.raises(UsageError, match="at most 64"):
        read((body % nested(DEPTH_LIMIT)).encode())


def test_many_lists_beside_one_another_are_not_deep():
    check_text(b"[%b]" % b",".join([b"[[1]]"] * 1000))
    check_value([[[1]]] * 1000, around=60)
    with pytest.raises(UsageError, match="too deep"):
        check_value([[[1]]] * 1000, around=62)


def test_what_the_types_refuse_is_refused_by_its_name(post):
    status, reply = post(f"{V1}:predict", b'{"instances": [{"alcohol": %b}]}' % nested(70).encode())
    assert (status, "'alcohol' is refused" in reply["error"]) == (400, True)
