"""``headrace models predict`` as its users meet it: a process of its own, its memory, and Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper
from wine_project import WineProject

from headrace.datasets.catalogue import versions
from headrace.datasets.put import put
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.models.signature import Signature, Tensor

WIDTH = 512
SOAK = bool(os.environ.get("HEADRACE_SOAK"))
ROWS = 900_000 if SOAK else 200_000
CHUNK = 10_000
GROWTH_MIB = 256


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    signature = Signature("tensor", (Tensor("x", "float32", (-1, WIDTH)),), (Tensor("y", "float32", (-1,)),))
    example = {"x": np.ones((2, WIDTH), np.float32)}
    asked = Registration("mean", example, "MIT", answers={"y": np.ones(2, np.float32)}, signature=signature)
    artifact = Artifact("onnx", {"model.onnx": model.SerializeToString()}, ("x",), ("y",))
    register(opened.platform.stores(), artifact, asked)
    yield opened
    opened.close()


def put_pictures(project, name, rows):
    """A dataset of ``rows`` lists of 512 floats: 2 KiB a row."""
    path, rng = project.root / f"{name}.parquet", np.random.default_rng(0)
    schema = pa.schema([("id", pa.int64()), ("x", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            values = pa.array(rng.random(count * WIDTH, dtype=np.float32))
            offsets = pa.array(np.arange(count + 1) * WIDTH, pa.int32())
            columns = [pa.array(range(first, first + count)), pa.ListArray.from_arrays(offsets, values)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    put(project.platform.stores(), name, path, licence="MIT")
    path.unlink()


def start(project, *arguments):
    command = [sys.executable, "-m", "headrace", "models", "predict", *arguments]
    environment = {**os.environ, "HEADRACE_WORKERS": "1"}
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


MEASURED = """
import atexit, sys
from pathlib import Path
from headrace.cli import main
atexit.register(lambda: print(Path("/proc/self/status").read_text(), file=sys.stderr))
main(sys.argv[1:])
"""


def peak_mib(project, name):
    """Peak resident memory of a process that scores dataset ``name``; its parent's does not count."""
    asked = ["models", "predict", "mean", "--data", name, "--to", f"{name}-scored", "--keep", "id", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *asked],
        cwd=project.root,
        env={**os.environ, "HEADRACE_WORKERS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "scored by mean@1" in done.stdout, done.stderr
    return int(re.search(r"VmHWM:\s+(\d+) kB", done.stderr)[1]) / 1024


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_dataset(project, figure):
    put_pictures(project, "few", 1000)
    put_pictures(project, "many", ROWS)
    project.platform.tables().close()
    few, many = peak_mib(project, "few"), peak_mib(project, "many")
    size = ROWS * WIDTH * 4 / 2**20
    figure("predictions.dataset_mib", size)
    figure("predictions.peak_mib", many)
    figure("predictions.growth_mib", many - few)
    assert many - few < GROWTH_MIB < size * 0.7


def test_the_command_line(project):
    rng = np.random.default_rng(1)
    columns = {name: rng.uniform(1, 2, 300) for name in ("ph", "density", "alcohol")}
    pq.write_table(pa.table({"id": range(300), **columns}), project.root / "bottles.parquet")
    put(project.platform.stores(), "bottles", project.root / "bottles.parquet")
    project.register(0.5)
    asked = ("wine", "--data", "bottles", "--to", "scored", "--keep", "id")
    for said in (
        "scored@1: 300 rows of bottles@1 scored by wine@1\n",
        "scored@1: 300 rows of bottles@1 scored by wine@1 (before)\n",
    ):
        process = start(project, *asked)
        assert (*process.communicate(), process.returncode) == (said, "", 0)
    process = start(project, *asked, "--only-outputs")
    assert "exclude each other" in process.communicate()[1]
    assert process.returncode == 2
    shown = subprocess.run(
        [sys.executable, "-m", "headrace", "data", "show", "scored"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "scored by wine@1 from bottles@1" in shown.stdout


def halfway(project):
    """A process that scores many pictures, and the folder of what it has written so far."""
    put_pictures(project, "many", 30_000)
    project.platform.tables().close()
    process = start(project, "mean", "--data", "many", "--to", "scored")
    until = time.monotonic() + 30
    while not (half := list(project.root.glob(".headrace/cache/half-made/predict-*/data.parquet"))):
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    return process, half[0].parent


def test_ctrl_c_leaves_nothing_half_written(project):
    process, half = halfway(project)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert (process.returncode, said.strip()) == (130, "stopped")
    assert not half.exists()
    assert versions(project.platform.ledger(), "scored") == []
    assert project.platform.files().list("datasets/scored/") == []


def test_what_a_killed_process_left_goes_with_the_next(project):
    process, half = halfway(project)
    process.kill()
    process.communicate()
    assert half.exists()
    assert versions(project.platform.ledger(), "scored") == []
    again = start(project, "mean", "--data", "many", "--to", "scored")
    assert (again.communicate()[0], again.returncode) == ("scored@1: 30,000 rows of many@1 scored by mean@1\n", 0)
    assert not half.exists()
    assert not list(half.parent.iterdir())
