"""A model in a worker: what it does to itself it does to nobody else, and it is back soon."""

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import worker_models

from headrace.conformance.runtime import SUM
from headrace.errors import IntegrityError, RunFailed, SignatureError
from headrace.models.params import Param
from headrace.serving.frames import Channel
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits

BACK_S = 5.0
ROW = np.array([[1.0, 2.0]], np.float32)
QUICK = Limits(memory_bytes=512 << 20, call_s=1.0, backoff_s=(0.01, 0.02), open_s=0.5)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.txt").write_text("2")
    return tmp_path


@pytest.fixture
def load(folder):
    opened = []

    def load(loader="adds", limits=QUICK):
        opened.append(IsolatedRuntime("test", f"worker_models:{loader}", limits).load(folder, SUM))
        return opened[-1]

    yield load
    for model in opened:
        model.close()


def test_a_model_that_takes_no_params_is_not_told_any(folder):
    signature = replace(SUM, params=(Param("factor", "float64", 1.0),))
    with pytest.raises(SignatureError, match="the model takes no params - the signature has 'factor'"):
        IsolatedRuntime("test", "worker_models:adds", QUICK).load(folder, signature)


def _tell(model, how):
    with pytest.raises(RunFailed) as caught:
        model.score({"numbers": np.array([[how, 0]], np.float32)})
    return str(caught.value)


def _score(model):
    return model.score({"numbers": ROW})["total"].tolist()


def _until(condition, within_s=BACK_S):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s
        time.sleep(0.005)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (worker_models.SEGFAULT, "killed by signal 11"),
        (worker_models.EXIT, "exit code 3"),
        (worker_models.MEMORY, "more memory than its 512 MiB"),
        (worker_models.HANG, "did not answer in time"),
        (worker_models.LIE, "no answer"),
    ],
)
def test_a_death_costs_one_call_and_nobody_else_notices(load, how, said):
    model, other = load(), load()
    pid, others = model.pid, other.pid
    assert said in _tell(model, how)
    assert _score(other) == [5.0]
    took = _until(lambda: model.state == "running")
    assert _score(model) == [5.0]
    assert (model.pid != pid, other.pid) == (True, others)
    print(f"back after {took:.2f} s")  # noqa: T201 - the figure


def test_what_a_call_took_in_the_worker_is_told(load):
    model, begun = load(), time.monotonic()
    answers = model.score({"numbers": ROW})
    started, scored = answers.within
    assert begun < started < scored < time.monotonic()


@pytest.mark.parametrize("within", [(0.0, 1e12), (math.nan, math.nan), (math.inf, -1.0), None])
def test_what_a_worker_says_of_time_is_not_believed_blindly(load, monkeypatch, within):
    model = load()
    receive = Channel.receive
    monkeypatch.setattr(Channel, "receive", lambda *given: msgspec.structs.replace(receive(*given), within=within))
    answers = model.score({"numbers": ROW})
    assert (answers["total"].tolist(), answers.within) == ([5.0], None)


def test_a_worker_that_dies_between_calls_is_replaced(load):
    model = load()
    pid = model.pid
    os.kill(pid, 9)
    _until(lambda: model.state == "running" and model.pid != pid)
    assert _score(model) == [5.0]


def test_three_deaths_open_the_breaker_for_a_while(load):
    model, other = load(), load()
    for _ in range(3):
        _until(lambda: model.state == "running")
        _tell(model, worker_models.SEGFAULT)
    _until(lambda: model.state == "breaker open", 1)
    begun = time.monotonic()
    assert "breaker open - killed by signal 11" in _tell(model, 1)
    assert time.monotonic() - begun < 0.1
    assert _score(other) == [5.0]
    _until(lambda: model.state == "running")
    assert time.monotonic() - begun > QUICK.open_s / 2
    assert _score(model) == [5.0]


def test_a_model_that_raises_keeps_its_worker(load):
    model = load()
    pid = model.pid
    assert "ZeroDivisionError: not today" in _tell(model, worker_models.RAISE)
    assert (_score(model), model.pid) == ([5.0], pid)


def test_text_and_numbers_of_every_kind_travel(load):
    model = load("echoes")
    batch = {
        "texts": np.array([["a", "ü"], [None, ""]], object),
        "wide": np.arange(6, dtype=np.int64).reshape(1, 2, 3)[:, :, ::2],
        "bits": np.array([True, False]),
        "half": np.array([1.5], np.float16),
        "none": np.zeros((0, 4), np.float32),
    }
    found = model.score(batch)
    assert found["texts"].tolist() == [["a", "ü"], ["", ""]]
    for name in ("wide", "bits", "half", "none"):
        np.testing.assert_array_equal(found[name], batch[name])
        assert found[name].dtype == batch[name].dtype


def test_a_batch_too_long_or_of_no_type_costs_the_worker_nothing(load, monkeypatch):
    model = load()
    monkeypatch.setattr("headrace.serving.frames.MOST_BYTES", 1000)
    for numbers in (np.zeros((1000, 2), np.float32), np.zeros((1, 2), np.complex64)):
        with pytest.raises(RunFailed, match=r"at most 1000|complex64"):
            model.score({"numbers": numbers})
    assert _score(model) == [5.0]


def test_secrets_of_the_server_are_not_passed_on(load, monkeypatch):
    monkeypatch.setenv("CANARY_TOKEN", "s3cret")
    (seen,) = load("echoes").score({})["environment"]
    assert "PATH" in seen
    assert "CANARY" not in seen


def test_errors_of_a_loader_arrive_whole(load):
    with pytest.raises(SignatureError, match="these columns do not fit - here - because - fix: mend it"):
        load("refuses")
    with pytest.raises(IntegrityError, match="KeyError: 'no such part'"):
        load("breaks")
    with pytest.raises(RunFailed, match=r"while loading.*signal 11"):
        load("crashes")


def test_a_worker_says_what_a_model_declares_and_ends(folder):
    runtime = IsolatedRuntime("test", "worker_models:adds", QUICK, "worker_models:declares")
    signature = runtime.declared(folder, "other")
    assert (signature.name, [t.name for t in signature.tensors]) == ("other", ["2"])
    with pytest.raises(SignatureError, match="no signature 'none'"):
        runtime.declared(folder, "none")
    with pytest.raises(RunFailed, match="signal 11"):
        runtime.declared(folder, "crash")
    assert IsolatedRuntime("test", "worker_models:adds", QUICK).declared(folder) is None


def test_a_worker_says_what_a_model_shows_and_ends(folder):
    runtime = IsolatedRuntime("test", "worker_models:adds", QUICK, shows="worker_models:shows")
    assert runtime.examples(folder, SUM) == {"columns": {"a": [1.5], "b": [None]}, "outputs": {"total": [2]}}
    (folder / "model.txt").write_text("")
    assert runtime.examples(folder, SUM) is None
    assert IsolatedRuntime("test", "worker_models:adds", QUICK).examples(folder, SUM) is None


def test_files_that_changed_are_not_loaded_again(load, folder):
    model = load()
    (folder / "model.txt").write_text("3")
    _tell(model, worker_models.SEGFAULT)
    _until(lambda: "have changed since" in _tell(model, 1))
    (folder / "model.txt").write_text("2")
    _until(lambda: model.state == "running")


def test_a_file_in_a_folder_of_the_model_that_changed_is_noticed(load, folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "weights").write_text("2")
    model = load()
    (folder / "deep" / "weights").write_text("3")
    _tell(model, worker_models.SEGFAULT)
    _until(lambda: "have changed since" in _tell(model, 1))


def test_close_ends_the_process_in_the_middle_of_a_call(load):
    model = load()
    pid = model.pid
    model.close()
    model.close()
    assert model.state == "closed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "closed" in _tell(model, 1)


SERVER = """
import pathlib, sys, threading
import numpy as np
from headrace.conformance.runtime import SUM
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
model = IsolatedRuntime("test", "worker_models:adds", Limits(call_s=60)).load(pathlib.Path(sys.argv[1]), SUM)
print(model.pid, flush=True)
model.score({"numbers": np.array([[-4, 0]], np.float32)})
"""


def test_a_worker_does_not_outlive_a_server_that_is_killed(folder):
    """Not even in the middle of a call that hangs."""
    path = os.pathsep.join(p for p in sys.path if p)
    command = [sys.executable, "-c", SERVER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as server:
        pid = int(server.stdout.readline())
        server.kill()
    _until(lambda: not _runs(pid))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_event_loop_never_waits_for_a_worker(load):
    from headrace.models.version import ModelVersion
    from headrace.serving.versions import Model

    model = Model(ModelVersion("sum", 1, "00", SUM, "test"), load(), p99_s=0.0, compared=0, one={"numbers": ROW})
    assert not model.fast
    assert not model.still_fast()
