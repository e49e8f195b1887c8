"""MLflow's bodies that are no JSON, its bare list, params, and Vertex AI's routes."""

import io
import json
import tracemalloc

import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import ROW, WINE, Gated, endpoint, linear, model

from headrace.errors import SettingsError, UsageError
from headrace.gateway.app import Gateway
from headrace.gateway.tables import of_csv
from headrace.gateway.vertex import VertexRoutes, vertex_routes
from headrace.serving.request import TableDecoder

ROWS = [ROW, {**ROW, "ph": None, "grape": 'mer"lot, old'}]
DUE = {"predictions": [147.5, 12.5]}
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def invoke(gate):
    def send(body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = gate.client.request("POST", "/invocations", data, {"content-type": kind})
        return reply.status, json.loads(reply.body)

    return send


def csv(rows):
    return pl.DataFrame(rows).write_csv().encode()


def parquet(rows):
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def test_csv_and_parquet_are_tables_with_names_in_any_order(invoke):
    backwards = [{name: row[name] for name in reversed(ROW)} for row in ROWS]
    for rows in (ROWS, backwards):
        assert invoke(csv(rows), "text/csv") == (200, DUE)
        assert invoke(csv(rows), "text/csv; charset=utf-8") == (200, DUE)
        assert invoke(parquet(rows), PARQUET) == (200, DUE)


def test_a_bare_list_of_records_and_params(invoke):
    assert invoke(ROWS) == (200, DUE)
    assert invoke({"instances": ROWS, "params": {"temperature": 0.5}}) == (200, DUE)
    assert invoke({"instances": ROWS, "params": 3})[0] == 422
    assert invoke([list(ROW.values())])[0] == 422


BAD = {
    "empty": (b"", 400, "empty"),
    "no rows": (b"alcohol,grape,year,ph,organic\n", 422, "no rows"),
    "unnamed": (
        b"12.5,riesling,2019,3.5,true\n",
        422,
        "unnamed input is refused - the first line, '12.5' - it names the columns alcohol, grape, year, ph, organic",
    ),
    "not UTF-8": (b"alcohol\n\xff\n", 400, "UTF-8"),
    "an open quote": (b'alcohol\n"12', 400, "CSV"),
    "ragged": (csv([ROW]) + b"1,2\n", 422, "row 1 has 2 values"),
    "a column twice": (b"ph,ph\n1,1\n", 422, "named twice"),
    "a column too many": (csv([{**ROW, "colour": "red"}]), 422, "'colour' is not an input"),
    "a column too few": (csv([{"ph": 1.0}]), 422, "'alcohol' is missing"),
    "text for a number": (csv([{**ROW, "alcohol": "x"}]), 422, "column 'alcohol'"),
    "a fraction": (csv([{**ROW, "year": 1.5}]), 422, "column 'year'"),
    "digits of Python": (csv([{**ROW, "year": "2_019"}]), 422, "column 'year'"),
    "infinity": (csv([{**ROW, "alcohol": "inf"}]), 422, "column 'alcohol'"),
    "NaN": (csv([{**ROW, "alcohol": "nan"}]), 422, "column 'alcohol'"),
    "null": (csv([{**ROW, "alcohol": None}]), 422, "column 'alcohol'"),
    "a truth": (csv([{**ROW, "organic": "maybe"}]), 422, "column 'organic'"),
}


@pytest.mark.parametrize("name", BAD)
def test_csv_that_does_not_fit_is_refused(invoke, name):
    body, due, said = BAD[name]
    status, reply = invoke(body, "text/csv")
    assert (status, set(reply)) == (due, {"error_code", "message"})
    assert said in reply["message"]


TOO_MUCH = {
    "many rows": (b"1\n" * 1_500_000, "more than 100000 rows"),
    "a long row": (b"1," * 1_500_000, "too long"),
    "a row over many lines": (b'"\n",' * 500_000, "too long"),
    "a long text": (b'"%b"' % (b"x" * 200_000), "field larger"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_csv_beyond_the_limits_is_refused_before_it_is_kept(name):
    rows, said = TOO_MUCH[name]
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=said):
            of_csv(TableDecoder(WINE), b"ph\n" + rows)
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
    finally:
        tracemalloc.stop()


def test_blank_lines_and_lines_within_a_cell_are_no_rows_of_csv():
    names = ",".join(ROW)
    rows = '\n12.5,"a\n\n\nb, ""c""",2019,,true\n\n\n' * 30_000
    found = of_csv(TableDecoder(WINE), f"\ufeff\n{names}\n{rows}".encode())
    assert found.count == 30_000
    assert set(found.cells) == {(12.5, 2019, None, True, 'a\n\n\nb, "c"')}


def test_texts_whose_lengths_lie_apart_are_refused(invoke):
    buffer, encodings = io.BytesIO(), {"grape": "DELTA_LENGTH_BYTE_ARRAY"}
    table = pl.DataFrame(ROWS).to_arrow()
    pyarrow.parquet.write_table(table, buffer, use_dictionary=False, column_encoding=encodings)
    status, reply = invoke(buffer.getvalue(), PARQUET)
    assert (status, "lengths of its texts" in reply["message"]) == (400, True)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_parquet_is_read_however_it_is_packed(invoke, version, compression):
    buffer, table = io.BytesIO(), pl.DataFrame(ROWS * 9).to_arrow()
    options = {"compression": compression, "data_page_version": version, "row_group_size": 4, "write_page_index": True}
    pyarrow.parquet.write_table(table, buffer, **options)
    assert invoke(buffer.getvalue(), PARQUET) == (200, {"predictions": DUE["predictions"] * 9})


BAD_PARQUET = {
    "no file": (b"PAR1", 400, "Parquet"),
    "cut": (parquet(ROWS)[:-20], 400, "Parquet"),
    "a column too many": (parquet([{**ROW, "colour": "red"}]), 422, "'colour' is not an input"),
    "another type": (parquet([{**ROW, "alcohol": "x"}]), 422, "column 'alcohol'"),
    "null": (parquet([ROW, {**ROW, "alcohol": None}]), 422, "column 'alcohol'"),
    "too many rows": (parquet([ROW] * 100_001), 400, "100001 rows"),
    "a long text many times": (parquet([{**ROW, "grape": "x" * 100_000}] * 500), 400, "too long"),
}


@pytest.mark.parametrize("name", BAD_PARQUET)
def test_parquet_that_does_not_fit_is_refused(invoke, gate, name):
    body, due, said = BAD_PARQUET[name]
    status, reply = invoke(body, PARQUET)
    assert (status, said in reply["message"]) == (due, True)
    assert gate.plane.live("wine").open == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=8))
def test_a_damaged_parquet_file_gets_one_reply(invoke, at, noise):
    body = bytearray(parquet(ROWS))
    at %= len(body)
    body[at : at + len(noise)] = noise
    assert invoke(bytes(body), PARQUET)[0] in {200, 400, 422, 413}


def test_the_routes_of_vertex_ai(tmp_path):
    gate = Gated(tmp_path)
    try:
        routes = vertex_routes({"AIP_PREDICT_ROUTE": "/v1/endpoints/7:predict", "AIP_HEALTH_ROUTE": "/alive"})
        gate.server.handler = Gateway(gate.plane, vertex=routes)
        assert gate.client.request("GET", "/alive").status == 503
        gate.flip(endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear, fast=True)})
        assert gate.client.request("GET", "/alive").status == 200
        body = json.dumps({"instances": ROWS, "parameters": {}}).encode()
        assert json.loads(gate.client.request("POST", "/v1/endpoints/7:predict", body).body) == DUE
        assert gate.client.request("POST", "/alive", body).status == 405
    finally:
        gate.close()


def test_a_vertex_route_that_is_no_path_is_refused():
    assert vertex_routes({}) == VertexRoutes()
    for route in ("predict", "/pre dict", "/predict?x=1"):
        with pytest.raises(SettingsError, match="a path is due"):
            vertex_routes({"AIP_PREDICT_ROUTE": route})
