"""Model files made to do harm. Whatever runs of them writes the file that is its canary.

Each maker takes the canary's path and gives the bytes of a file, or files by relative path for a folder. Nothing here is
ever loaded by a test: the libraries that these files are made for would run them.
"""

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import struct
import tarfile
import tempfile
import zipfile
import zlib
from functools import cache

import joblib
import numpy as np
from onnx import TensorProto, helper, numpy_helper

ESCAPED = f"{tempfile.gettempdir()}/headrace-escaped"
"""Where archives of absolute paths would write."""


class Evil:
    """What runs code when it is unpickled."""

    def __init__(self, canary):
        self._canary = str(canary)

    def __reduce__(self):
        return exec, (f"open({self._canary!r}, 'w').close()",)


def zipped(entries, packed=zipfile.ZIP_STORED, mode=0o100644):
    """A zip of ``entries``: pairs of name and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = packed, mode << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def tarred(*entries):
    """A tar of ``entries``: name and what it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    return buffer.getvalue()


def _joblib(canary, compress=0):
    buffer = io.BytesIO()
    joblib.dump(Evil(canary), buffer, compress=compress)
    return buffer.getvalue()


def _npy(canary):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil(canary)], object), allow_pickle=True)
    return buffer.getvalue()


def _npz(canary):
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.array([Evil(canary)], object))
    return buffer.getvalue()


def keras(canary):
    """A Keras file with a Lambda layer: marshalled code."""
    code = compile(f"open({str(canary)!r}, 'w').close()", "evil", "exec")
    text = base64.b64encode(marshal.dumps(code)).decode()
    value = {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "evil", "function": value}}
    model = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    about = json.dumps({"keras_version": "3.9.0", "date_saved": "2026-01-01@00:00:00"})
    return zipped(
        [("metadata.json", about), ("config.json", json.dumps(model)), ("model.weights.h5", b"\x89HDF\r\n\x1a\n")]
    )


def _legacy_torch(canary):
    """What ``torch.save`` wrote before it wrote zip archives: pickles one after the other."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    return magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + pickle.dumps(Evil(canary), 2)


def _overlapping():
    """A zip whose entries all unpack the same bytes: 500 times what is in it."""
    content, packer = bytes(range(256)) * 4000, zlib.compressobj(1, zlib.DEFLATED, -15)
    body, crc, size = packer.compress(content) + packer.flush(), zlib.crc32(content), len(content)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(body), size, 11, 0) + b"schema.json"
    names = [b"schema.json", *(b"a%010d" % i for i in range(500))]
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(body), size, len(n), *(0,) * 6) + n
        for n in names
    )
    at = len(local) + len(body)
    return local + body + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 501, 501, len(directory), at, 0)


def _lying_size():
    """A zip that says that an entry is short, when it is long."""
    content = bytearray(zipped([("schema.json", bytes(5_000_000))], zipfile.ZIP_DEFLATED))
    for place in (content.index(b"PK\3\4") + 22, content.index(b"PK\1\2") + 24):
        content[place : place + 4] = struct.pack("<I", 100)
    return bytes(content)


def _locked():
    content = bytearray(zipped([("schema.json", b"{}")]))
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def _nested(levels=6):
    content = zipped([("schema.json", bytes(900_000))], zipfile.ZIP_DEFLATED)
    for level in range(levels):
        content = zipped([(f"{level}-{n}.zip", content) for n in range(16)], zipfile.ZIP_DEFLATED)
    return content


@cache
def _many():
    return zipped([(f"{n:x}", b"") for n in range(100_001)])


def _twice():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zipped([("schema.json", b"{}"), ("schema.json", b"[]")])


def mlflow(canary):
    """The folder of an MLflow model that is a pickled Python model."""
    flavor = {"loader_module": "mlflow.pyfunc.model", "python_model": "python_model.pkl", "python_version": "3.11"}
    return {
        "MLmodel": f"flavors:\n  python_function: {json.dumps(flavor)}\n".encode(),
        "python_model.pkl": pickle.dumps(Evil(canary)),
    }


PICKLES = {
    **{f"pickle {p}.pkl": lambda canary, p=p: pickle.dumps(Evil(canary), p) for p in range(6)},
    "joblib": _joblib,
    **{
        f"joblib {how}": lambda canary, how=how: _joblib(canary, (how, 3))
        for how in ("zlib", "gzip", "bz2", "xz", "lzma")
    },
    "gzip": lambda canary: gzip.compress(pickle.dumps(Evil(canary))),
    "bz2": lambda canary: bz2.compress(pickle.dumps(Evil(canary))),
    "lzma alone": lambda canary: lzma.compress(pickle.dumps(Evil(canary)), lzma.FORMAT_ALONE),
    "numpy objects.npy": _npy,
    "numpy objects.npz": _npz,
    "torch.pt": _legacy_torch,
    "torch zipped.pt": lambda canary: zipped(
        [("archive/data.pkl", pickle.dumps(Evil(canary), 2)), ("archive/version", b"3")]
    ),
    "xgboost.pkl": lambda canary: pickle.dumps({"learner": Evil(canary)}),
    "lightgbm.pkl": lambda canary: pickle.dumps(["tree\nversion=v4\n", Evil(canary)]),
    "model.h5": lambda canary: b"\x89HDF\r\n\x1a\n" + pickle.dumps(Evil(canary)),
    "script.py": lambda canary: f"#!/usr/bin/env python3\nopen({str(canary)!r}, 'w')\n".encode(),
}
"""Files that run code in whoever loads them with the library they are made for."""

ARCHIVES = {
    "nested": lambda: _nested(2),
    "overlapping": _overlapping,
    "packed beyond belief": lambda: zipped([("schema.json", bytes(50_000_000))], zipfile.ZIP_DEFLATED),
    "many entries": _many,
    "locked": _locked,
    "link": lambda: zipped([("schema.json", b"/etc/passwd")], mode=0o120777),
    "device": lambda: zipped([("schema.json", b"")], mode=0o020666),
    "pipe": lambda: zipped([("schema.json", b"")], mode=0o010666),
    "absolute": lambda: zipped([("schema.json", b"{}"), (ESCAPED, b"x")]),
    "parent": lambda: zipped([("schema.json", b"{}"), ("../escaped", b"x")]),
    "parent inside": lambda: zipped([("schema.json", b"{}"), ("a/../../escaped", b"x")]),
    "backslash": lambda: zipped([("schema.json", b"{}"), ("..\\escaped", b"x")]),
    "twice": _twice,
    "cut off": lambda: zipped([("schema.json", b"{}")])[:-30],
    "tar with devices": lambda: tarred(("model.onnx", tarfile.REGTYPE), ("dev", tarfile.CHRTYPE)),
    "tar with links": lambda: tarred(("../escaped", tarfile.SYMTYPE), (ESCAPED, tarfile.LNKTYPE)),
    "tar, gzipped": lambda: gzip.compress(tarred(("../escaped", tarfile.REGTYPE))),
}
"""Archives that escape, multiply or lie."""

INSIDE = {
    "lying size": _lying_size,
    "xgboost, nested": lambda: b'{"learner":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "xgboost, huge count": lambda: b"{L" + struct.pack(">q", 7) + b"learner[$d#L" + struct.pack(">q", 1 << 60) + b"}",
    "lightgbm, huge count": lambda: (
        b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=2000000000\n"
        b"feature_names=a b\nfeature_infos=none none\ntree_sizes=99999999999\n\nTree=0\nnum_leaves=2000000000\n"
        b"num_cat=0\nend of trees\n"
    ),
    "onnx, of another's operators": lambda: graph(helper.make_node("Run", ["numbers"], ["quality"], domain="evil")),
    "onnx, filling memory": lambda: graph(
        helper.make_node("Expand", ["one", "many"], ["all"]),
        helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
        helper.make_node("Add", ["numbers", "sum"], ["quality"]),
        one=np.float32([1]),
        many=np.array([1 << 20, 1 << 13]),
    ),
}
"""Files of formats that are served, which harm whoever reads them trustingly."""

SAID = {
    "lying size": "Bad CRC-32",
    "xgboost, nested": "worker died while loading",
    "xgboost, huge count": "bad_alloc",
    "lightgbm, huge count": "its trees are not of the sizes it says",
    "onnx, of another's operators": "evil:Run(-1) is not a registered function/op",
    "onnx, filling memory": "Failed to allocate memory",
}
"""What those who read them say."""


def graph(*nodes, **constants):
    """An ONNX model from ``numbers`` [rows, columns] to ``quality``."""
    taken = [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, None])]
    given = [helper.make_tensor_value_info("quality", TensorProto.FLOAT, None)]
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    made = helper.make_graph(list(nodes), "g", taken, given, kept)
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def endless():
    """An ONNX model that loads and then computes for years."""
    flag, state = ([helper.make_tensor_value_info(n, t, s)] for n, t, s in (("c", TensorProto.BOOL, []), ("s", 1, [1])))
    rounds = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    out = [helper.make_tensor_value_info("co", TensorProto.BOOL, []), helper.make_tensor_value_info("so", 1, [1])]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Identity", ["s"], ["so"])],
        "body",
        [rounds, *flag, *state],
        out,
    )
    loop = helper.make_node("Loop", ["rounds", "on", "zero"], ["sum"], body=body)
    add = helper.make_node("Add", ["numbers", "sum"], ["quality"])
    return graph(loop, add, rounds=np.array(1 << 60), on=np.array(True), zero=np.float32([0]))
