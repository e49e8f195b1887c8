import io
import os
import pickle
import zipfile

import joblib
import pytest
from onnx import TensorProto, helper
from served import onnx_linear

from headrace.errors import Refused, UsageError
from headrace.models.formats import read_model, sniffed


def _zip(*names, content=b"x", mode=0o644, packed=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, packed
            archive.writestr(entry, content)
    return buffer.getvalue()


def _external():
    tensor = TensorProto(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../secret")
    graph = helper.make_graph([], "g", [], [], [tensor])
    return helper.make_model(graph, ir_version=9).SerializeToString()


def _joblib(**how):
    buffer = io.BytesIO()
    joblib.dump([1, 2], buffer, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "due"),
    [
        (onnx_linear([1, 2]), "onnx"),
        (b'{"learner":{}}', "xgboost"),
        (b"{L\0\0\0\0\0\0\0\x07learner{", "xgboost"),
        (b"tree\nversion=v4\n", "lightgbm"),
        (_zip("schema.json"), "skops"),
    ],
)
def test_a_format_is_told_by_its_bytes(content, due):
    assert sniffed(content) == due


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"a": 1}), "runs code"),
        (_joblib(), "runs code"),
        (_joblib(compress=3), "runs code"),
        (_zip("archive/data.pkl", "archive/version"), "runs code"),
        (_zip("config.json", "model.weights.h5"), "a zip of config.json"),
        (_zip("schema.json", "../escape"), "would leave"),
        (_zip("schema.json", "/etc/escape"), "would leave"),
        (_zip("schema.json", "a\\b"), "would leave"),
        (_zip("schema.json", mode=0o120777), "is a link"),
        (_zip("schema.json", content=bytes(10_000_000), packed=zipfile.ZIP_DEFLATED), "beyond belief"),
        (_zip("schema.json")[:40], "cannot be read"),
        (_external(), "in other files"),
        (b"\x89HDF\r\n", "begins"),
        (b"", "it is empty"),
    ],
)
def test_what_runs_code_escapes_or_is_unknown_is_refused(content, said):
    with pytest.raises(Refused, match=said):
        sniffed(content)


def test_only_a_plain_file_is_read(tmp_path):
    (tmp_path / "model").write_bytes(b"tree")
    (tmp_path / "link").symlink_to("model")
    os.mkfifo(tmp_path / "pipe")
    assert read_model(tmp_path / "model") == b"tree"
    for name in ("link", "pipe", "."):
        with pytest.raises(Refused):
            read_model(tmp_path / name)
    with pytest.raises(UsageError, match="No such file"):
        read_model(tmp_path / "absent")
