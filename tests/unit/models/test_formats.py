import io
import pickle
import zipfile

import joblib
import pytest
from onnx import TensorProto, helper
from served import onnx_linear

from headrace.errors import Refused
from headrace.models.formats import recognised, sniffed, sniffed_folder


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
        (b"\x1c\0\0\0TFL3", "litert"),
        (_zip("schema.json"), "skops"),
        (_zip("m/archive_format", "m/models/model.json"), "torch"),
        (_zip("m/data.pkl", "m/constants.pkl", "m/version", "m/code/__torch__.py"), "torchscript"),
        (_zip("metadata.json", "config.json", "model.weights.h5"), "keras"),
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
        (_zip("serialized_exported_program.json", "version"), "before 2.8"),
        (_zip("config.json", "model.weights.npz"), "a zip of config.json"),
        (_zip("schema.json", "../escape"), "would leave"),
        (_zip("schema.json", "/etc/escape"), "would leave"),
        (_zip("schema.json", "a\\b"), "would leave"),
        (_zip("schema.json", mode=0o120777), "is a link"),
        (_zip("schema.json", content=bytes(10_000_000), packed=zipfile.ZIP_DEFLATED), "beyond belief"),
        (_zip("schema.json")[:40], "cannot be read"),
        (_external(), "in other files"),
        (b"\x89HDF\r\n\x1a\n", "in HDF5 may hold code"),
        (b"", "it is empty"),
    ],
)
def test_what_runs_code_escapes_or_is_unknown_is_refused(content, said):
    with pytest.raises(Refused, match=said):
        sniffed(content)


# The outermost message of a SavedModel: schema version 1, then one graph of three bytes.
SAVED = b"\x08\x01\x12\x03abc"


def test_a_folder_is_told_by_the_file_that_makes_it_a_model(tmp_path):
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(SAVED)
    (folder / "variables" / "variables.index").write_bytes(b"x")
    due = {"model.tensorflow/saved_model.pb": SAVED, "model.tensorflow/variables/variables.index": b"x"}
    assert recognised(folder) == ("tensorflow", due)
    (folder / "saved_model.pb").rename(folder / "graph.pb")
    (folder / "MLmodel").write_bytes(b"artifact_path: x\nflavors:\n  sklearn: {}\n")
    assert recognised(folder)[0] == "mlflow"


def test_a_file_is_kept_by_its_format(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"tree\nversion=v4\n")
    assert recognised(tmp_path / "x.pkl") == ("lightgbm", {"model.lightgbm": b"tree\nversion=v4\n"})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no file"),
        ({"model.onnx": onnx_linear([1, 2])}, "it holds model.onnx"),
        ({"deep/saved_model.pb": SAVED}, "it holds deep/saved_model.pb - fix: name the folder of one model: deep in"),
        ({"late/1/manifest.json": b"{}", "late/1/model.onnx": b""}, "fix: name the folder of one model: late/1 in it"),
        ({"saved_model.pb": b""}, "no SavedModel"),
        ({"saved_model.pb": b"\x08\x01"}, "no SavedModel"),
        ({"saved_model.pb": b"\x08\x02\x12\x03abc"}, "no SavedModel"),
        ({"saved_model.pb": SAVED[:-1]}, "no SavedModel"),
        ({"saved_model.pb": SAVED + b"\x1a\x01x"}, "no SavedModel"),
        ({"saved_model.pb": b"\x08" + b"\xff" * 11}, "no SavedModel"),
        ({"saved_model.pb": pickle.dumps({})}, "no SavedModel"),
        ({"MLmodel": b"artifact_path: 'flavors:'\n"}, "no MLflow model"),
        ({"deep/MLmodel": b"flavors:\n"}, "it holds deep/MLmodel"),
    ],
)
def test_other_folders_are_refused(files, said):
    with pytest.raises(Refused, match=said):
        sniffed_folder(files)
