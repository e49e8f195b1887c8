"""Bodies with too many rows or values are refused before they are parsed, and no others are."""

import json
import tracemalloc
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import ROW, WINE
from tensor_served import PAIR, PIXELS, echo

from headrace.errors import UsageError
from headrace.gateway import mlflow, row_limit, tfs
from headrace.gateway.answers import parse
from headrace.gateway.oip_request import parse_infer
from headrace.gateway.row_limit import SUSPECT_BYTES, counted
from headrace.gateway.tfs_examples import parse_examples
from headrace.serving.request import ROWS_LIMIT, TableDecoder
from headrace.serving.tensors import TensorDecoder

TRICKY = st.text(alphabet='ab\\"[]{},:\u20ac', max_size=12)
JSON = st.recursive(
    st.one_of(st.none(), st.integers(), TRICKY),
    lambda v: st.one_of(st.lists(v, max_size=5), st.dictionaries(TRICKY, v, max_size=5)),
    max_leaves=20,
)


def commas(value):
    inner = list(value.values()) if isinstance(value, dict) else value
    return sum(map(commas, inner)) + max(len(inner) - 1, 0) if isinstance(inner, list) else 0


def levels(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@given(st.lists(JSON, min_size=1), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_commas_are_counted_as_a_parser_would(value, block, indent, is_ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_limit, "_BLOCK", block)
        assert counted(text) == (len(value), commas(value), levels(value))


def read_rows(decoder, body):
    return tfs._parse(decoder, body)[0]


def read_examples(decoder, body):
    return parse_examples(decoder, body)[0]


def read_infer(decoder, body):
    return parse_infer(decoder, body, None)[1]


def many(cell, count=ROWS_LIMIT):
    return b"[%b]" % b",".join([cell] * count)


def tensor(data, *, shape, datatype="FP32", name="x"):
    head = json.dumps({"name": name, "shape": shape, "datatype": datatype}).encode()[:-1]
    return b'{"inputs":[%b,"data":%b}]}' % (head, data)


def split(data, index=b"[]"):
    return b'{"dataframe_split":{"columns":%b,"index":%b,"data":%b}}' % (json.dumps(list(ROW)).encode(), index, data)


TABLE, PIXEL, TWO = TableDecoder(WINE), TensorDecoder(PIXELS), TensorDecoder(PAIR)
WORDS, ANY, PAIRS = (
    TensorDecoder(echo("string")),
    TensorDecoder(echo("float32", (-1, -1))),
    TensorDecoder(echo("float32")),
)
NAMED = json.dumps({**ROW, "grape": 'a,"]b'}, separators=(",", ":")).encode()
CELLS = json.dumps([12.5, 'ries,"ling', 2019, None, True]).encode()
WHITE = b"[[0,0,0],[0,0,0]]"
COLUMNS = b"{%b}" % b",".join(b'"%b":%b' % (n.encode(), many(json.dumps(v).encode())) for n, v in ROW.items())
LEGAL = {
    "records": (TABLE, read_rows, b'{"instances":%b}' % many(NAMED)),
    "a bare list": (TABLE, mlflow._parse, b" " + many(NAMED)),
    "split": (TABLE, mlflow._parse, split(many(CELLS), many(b"[1,2]"))),
    "columns": (TABLE, read_rows, b'{"inputs":%b}' % COLUMNS),
    "examples": (TABLE, read_examples, b'{"examples":%b,"context":{"organic":true}}' % many(NAMED.replace(b',"organic":true', b""))),
    "features": (PIXEL, read_examples, b'{"examples":%b}' % many(b'{"pixels":%b}' % WHITE)),
    "a bare tensor": (PIXEL, read_rows, b'{"inputs":%b}' % many(WHITE)),
    "named tensors": (PIXEL, mlflow._parse, b'{"inputs":{"pixels":%b}}' % many(WHITE)),
    "texts": (WORDS, read_rows, b'{"instances":%b}' % many(b'[{"b64":"YWI="},"a,b,c"]')),
    "two tensors": (TWO, read_rows, b'{"instances":%b}' % many(b'{"a":1,"name":["x","y","z"]}')),
    "any extent": (ANY, read_rows, b'{"instances":%b}' % many(many(b"1", 200), 2000)),
    "parameters": (TABLE, mlflow._parse, b'{"instances":[%b],"params":{"x":%b}}' % (NAMED, many(b"123", ROWS_LIMIT - 2))),
    "a flat tensor": (PIXEL, read_infer, tensor(many(b"1", 6 * ROWS_LIMIT), shape=[ROWS_LIMIT, 2, 3], name="pixels")),
    "a nested tensor": (PIXEL, read_infer, tensor(many(WHITE), shape=[ROWS_LIMIT, 2, 3], name="pixels")),
    "a tensor of texts": (WORDS, read_infer, tensor(many(b'"a,b"', 2 * ROWS_LIMIT), shape=[ROWS_LIMIT, 2], datatype="BYTES")),
}  # fmt: skip
ILLEGAL = {
    "records": (TABLE, read_rows, b'{"instances":%b}' % many(NAMED, ROWS_LIMIT + 1), "more than 100000 rows"),
    "a bare list": (TABLE, mlflow._parse, many(b"{}", 1_500_000), "more than 100000 rows"),
    "split": (TABLE, mlflow._parse, split(many(b"[]", 1_500_000)), "more than 100000 rows"),
    "columns": (TABLE, read_rows, b'{"inputs":{"alcohol":%b}}' % many(b"1", 1_500_000), "more than 100000 rows"),
    "a bare tensor": (PAIRS, read_rows, b'{"inputs":%b}' % many(b"[1,2]", 1_000_000), "more than 100000 rows"),
    "examples": (TABLE, read_examples, b'{"examples":%b}' % many(b"{}", 1_500_000), "more than 100000 rows"),
    "bare values": (PAIRS, read_rows, b'{"instances":%b}' % many(b"1", 1_500_000), "more than 100000 rows"),
    "a wide row": (PAIRS, read_rows, b'{"instances":[[1,2],%b]}' % many(b"1", 1_500_000), "1500002 values"),
    "a wide cell": (TABLE, mlflow._parse, split(b"[[%b,2,3,4,5]]" % many(b"1", 1_500_000)), "1500004 values"),
    "a repeated name": (
        TABLE, read_rows, b'{"instances":%b,"instances":[%b]}' % (many(b"{}", 1_500_000), NAMED), "besides its rows"),
    "a repeated column": (
        TABLE, read_rows, b'{"inputs":{"ph":%b,"ph":[1]}}' % many(b"1", 1_500_000), "besides its rows"),
    "parameters": (
        TABLE, mlflow._parse, b'{"instances":[%b],"params":{"x":%b}}' % (NAMED, many(b"1", 1_500_000)), "besides its rows"),
    "a context": (
        TABLE, read_examples, b'{"examples":[{}],"context":{"x":%b}}' % many(b"1", 1_500_000), "besides its rows"),
    "a flat tensor": (PAIRS, read_infer, tensor(many(b"1", 1_500_000), shape=[2, 2]), "1500000 values"),
    "a nested tensor": (PAIRS, read_infer, tensor(many(b"[1,2]", 1_000_000), shape=[3, 2]), "2000000 values"),
    "a tensor of rows": (PAIRS, read_infer, tensor(many(b"1", 200_002), shape=[100_001, 2]), "100001 rows"),
    "a column's tensor": (
        TABLE, read_infer, tensor(many(b"1", 1_500_000), shape=[9], datatype="FP64", name="ph"), "1500000 values"),
    "a long column's tensor": (
        TABLE, read_infer, tensor(many(b"1", 1_500_000), shape=[1_500_000], datatype="FP64", name="ph"), "1500000 rows"),
    "a shape": (PAIRS, read_infer, tensor(b"[1]", shape=[1] * 1_500_000), "besides its rows"),
    "tensors": (PAIRS, read_infer, b'{"inputs":%b}' % many(b"{}", 1_500_000), "more than 100000 rows"),
}  # fmt: skip


def parsed(case):
    decoder, read, body = case
    live = SimpleNamespace(decoder=decoder, counters=SimpleNamespace(refused=0))
    return parse(live, body, read), live


@pytest.mark.parametrize("form", LEGAL)
def test_as_many_rows_as_allowed_are_read(form):
    decoder, read, body = LEGAL[form]
    assert len(body) > SUSPECT_BYTES
    assert body.count(b",") >= ROWS_LIMIT - 1
    assert read(decoder, body).count in {ROWS_LIMIT, 2000, 1}


@pytest.mark.parametrize("form", ILLEGAL)
def test_more_are_refused_before_they_are_parsed(form):
    *case, said = ILLEGAL[form]
    body = case[-1]
    assert len(body) < 16 * 2**20
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=said):
            parsed(case)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) + 12 * 2**20


@pytest.mark.parametrize("body", [b'{"instances":%b' % many(b"1"), many(b"1") + b"x", b'"%b"' % (b"," * SUSPECT_BYTES)])
def test_what_is_no_json_is_refused_as_such(body):
    with pytest.raises(UsageError):
        parsed((TABLE, read_rows, body))
