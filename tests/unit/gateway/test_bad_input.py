"""What does not fit is refused with the fault named, on every protocol, and never scored."""

import json
import time

import pytest
from served import ROW

GOOD = json.dumps(ROW)[1:-1]


def row(**changes):
    return {**ROW, **changes}


def text(name, token):
    """The good row with a raw JSON token in one column."""
    return GOOD.replace(f'"{name}": {json.dumps(ROW[name])}', f'"{name}": {token}').encode()


V1 = "/v1/models/wine:predict"

BAD = {
    "truncated": (b'{"instances": [{' + GOOD.encode()[:30], "truncated"),
    "empty": (b"", "empty"),
    "blank": (b"  \n", "empty"),
    "no JSON": (b"alcohol=12", "not JSON"),
    "not UTF-8": (b'{"instances": [{"grape": "\xff\xfe"}]}', "not JSON"),
    "binary": (b"\xb5\x00\x01", "not JSON"),
    "a number": (b"12", "got int"),
    "a list": (b"[1, 2]", "unnamed"),
    "neither form": (b"{}", "Missing 'inputs' or 'instances'"),
    "both forms": (json.dumps({"instances": [ROW], "inputs": {k: [v] for k, v in ROW.items()}}).encode(), "exclude"),
    "unnamed": (b'{"instances": [[12.5, 2019, 3.5]]}', "unnamed input is refused"),
    "unnamed flat": (b'{"instances": [12.5, 2019, 3.5]}', "unnamed input is refused"),
    "unnamed columns": (b'{"inputs": [[12.5], [2019]]}', "unnamed input is refused"),
    "no rows": (b'{"instances": []}', "no rows"),
    "missing": (json.dumps({"instances": [{k: v for k, v in ROW.items() if k != "ph"}]}).encode(), "'ph' is missing"),
    "unknown": (json.dumps({"instances": [row(colour="red")]}).encode(), "'colour' is not an input"),
    "text for a number": (json.dumps({"instances": [row(alcohol="12.5")]}).encode(), "'alcohol' is refused"),
    "number for text": (json.dumps({"instances": [row(grape=3)]}).encode(), "'grape' is refused"),
    "fraction for a whole": (json.dumps({"instances": [row(year=1.5)]}).encode(), "'year' is refused"),
    "number for a truth": (json.dumps({"instances": [row(organic=1)]}).encode(), "'organic' is refused"),
    "null": (json.dumps({"instances": [row(alcohol=None)]}).encode(), "'alcohol' is refused"),
    "object": (json.dumps({"instances": [row(alcohol={"b64": "AA=="})]}).encode(), "'alcohol' is refused"),
    "NaN": (b'{"instances": [{' + text("alcohol", "NaN") + b"}]}", "'alcohol' is not finite"),
    "NaN where null is legal": (b'{"instances": [{' + text("ph", "NaN") + b"}]}", "'ph' is not finite"),
    "Infinity": (b'{"instances": [{' + text("alcohol", "-Infinity") + b"}]}", "'alcohol' is not finite"),
    "1e400": (b'{"instances": [{' + text("alcohol", "1e400") + b"}]}", "'alcohol' is refused"),
    "1e39": (b'{"instances": [{' + text("alcohol", "1e39") + b"}]}", "'alcohol' is refused"),
    "2**64": (b'{"instances": [{' + text("year", str(2**64)) + b"}]}", "'year' is refused"),
    "ragged": (
        json.dumps({"inputs": {k: [v] * (2 if k == "ph" else 1) for k, v in ROW.items()}}).encode(),
        "'ph' has 2 rows",
    ),
    "nested cell": (b'{"instances": [{' + text("alcohol", "[" * 500 + "]" * 500) + b"}]}", "'alcohol' is refused"),
    "nested deep": (b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b', "instances": []}', "nested too deep"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused_naming_the_fault(post, gate, name):
    body, said = BAD[name]
    before = gate.plane.counters["wine"].requests
    begun = time.monotonic()
    status, reply = post(V1, body)
    assert time.monotonic() - begun < 1
    assert (status, list(reply)) == (400, ["error"])
    assert said in reply["error"]
    assert "Traceback" not in reply["error"]
    assert gate.plane.counters["wine"].requests == before


def split(columns, data):
    return {"dataframe_split": {"columns": columns, "data": data}}


NAMES, CELLS = list(ROW), list(ROW.values())

INVOCATIONS = {
    "unnamed split": ({"dataframe_split": {"data": [CELLS]}}, 422, "unnamed input is refused"),
    "unnamed instances": ({"instances": [CELLS]}, 422, "unnamed input is refused"),
    "unnamed inputs": ({"inputs": [CELLS]}, 422, "unnamed input is refused"),
    "a wrong cell": (split(NAMES, [[*CELLS[:3], "acid", True]]), 422, "column 'ph'"),
    "a missing column": (split(NAMES[1:], [CELLS[1:]]), 422, "'alcohol' is missing"),
    "an extra column": (split([*NAMES, "colour"], [[*CELLS, "red"]]), 422, "'colour' is not an input"),
    "a column twice": (split([*NAMES, "ph"], [[*CELLS, 3]]), 422, "named twice"),
    "ragged": (split(NAMES, [CELLS, CELLS[:3]]), 422, "row 1 has 3 values"),
    "records": ({"dataframe_records": [row(alcohol=None)]}, 422, "column 'alcohol'"),
    "no form": ({}, 400, "exactly one of"),
    "two forms": ({"instances": [ROW], "dataframe_records": [ROW]}, 400, "exactly one of"),
}


@pytest.mark.parametrize("name", INVOCATIONS)
def test_invocations_refuses_with_a_message(post, name):
    body, due, said = INVOCATIONS[name]
    status, reply = post("/invocations", body, ["content-type: application/json"])
    assert (status, set(reply)) == (due, {"error_code", "message"})
    assert said in reply["message"]


def tensors(**changes):
    kinds = {float: "FP64", str: "BYTES", int: "INT64", bool: "BOOL"}
    found = [
        {"name": k, "shape": [1], "datatype": kinds[type(v)], "data": [v]} | changes.get(k, {}) for k, v in ROW.items()
    ]
    return {"inputs": found}


INFER = {
    "a wrong shape": (tensors(ph={"shape": [2]}), "'ph' has 1 values"),
    "a matrix": (tensors(ph={"shape": [1, 2], "data": [1, 2]}), "'ph' has shape"),
    "a negative extent": (tensors(ph={"shape": [-1]}), "'ph' has 1 values"),
    "a huge extent": (tensors(ph={"shape": [2**62]}), "'ph' has 1 values"),
    "the wrong datatype": (tensors(ph={"datatype": "BYTES", "data": ["x"]}), "'ph' has datatype 'BYTES'"),
    "a wrong cell": (tensors(ph={"data": ["x"]}), "column 'ph' is refused"),
    "null": (tensors(alcohol={"data": [None]}), "column 'alcohol' is refused"),
    "a missing column": ({"inputs": tensors()["inputs"][1:]}, "'alcohol' is missing"),
    "a column twice": ({"inputs": tensors()["inputs"] * 2}, "given twice"),
    "one unnamed matrix": (
        {"inputs": [{"name": "x", "shape": [1, 5], "datatype": "FP32", "data": [1, 2, 3, 4, 5]}]},
        "'x' is not an input of this model - it takes the columns alcohol",
    ),
    "an unknown output": ({**tensors(), "outputs": [{"name": "colour"}]}, "no output colour"),
    "no inputs": ({}, "inputs"),
}


@pytest.mark.parametrize("name", INFER)
def test_infer_refuses_with_an_error(post, name):
    body, said = INFER[name]
    status, reply = post("/v2/models/wine/infer", body)
    assert (status, list(reply)) == (400, ["error"])
    assert said in reply["error"]


def test_the_tensors_of_this_module_are_good_when_unchanged(post):
    status, reply = post("/v2/models/wine/infer", tensors())
    assert status == 200
    assert reply["outputs"][0]["data"] == [147.5]


@pytest.mark.parametrize(
    ("path", "kind", "due"),
    [
        (V1, "text/csv", 400),
        (V1, "multipart/form-data; boundary=x", 400),
        ("/v2/models/wine/infer", "application/xml", 400),
        ("/invocations", "text/plain", 415),
        ("/invocations", "application/json; charset=latin-1", 415),
        ("/invocations", "application/json; q=1", 415),
    ],
)
def test_another_content_type_is_refused(post, path, kind, due):
    status, reply = post(path, {"instances": [ROW]}, [f"content-type: {kind}"])
    assert status == due
    assert kind.partition(";")[0] in str(reply) or "parameter" in str(reply)


def test_refusals_are_counted(post, gate):
    before = gate.plane.counters["wine"].refused
    post(V1, b"{")
    post("/invocations", b"{}", ["content-type: application/json"])
    assert gate.plane.counters["wine"].refused == before + 2
