"""The models of TensorFlow Serving's own tests, through both of its protocols."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import tensorflow as tf
from asked import headrace, posted
from server_process import serving

pytestmark = pytest.mark.service

MODELS = {
    "half_plus_two": "saved_model_half_plus_two_2_versions",
    "one_version": "saved_model_half_plus_two_cpu",
    "tf2": "saved_model_half_plus_two_tf2_cpu",
    "half_plus_three": "saved_model_half_plus_three",
}
STUBS = Path(__file__).parent / "calls" / "serving_stubs.py"
SETTINGS = """
[model.half_plus_two]
versions = "all"
"""


@pytest.fixture(scope="module")
def half_plus():
    """Where the models are."""
    if "HEADRACE_TEST_DATA" not in os.environ:
        pytest.skip("HEADRACE_TEST_DATA names no folder with TensorFlow Serving's test models")
    return Path(os.environ["HEADRACE_TEST_DATA"]) / "half_plus_two"


@pytest.fixture(scope="module")
def server(tmp_path_factory, half_plus):
    """A gateway that watches a folder of them, as TensorFlow Serving would."""
    folder = tmp_path_factory.mktemp("served")
    for name, kept in MODELS.items():
        shutil.copytree(half_plus / kept, folder / "models" / name)
    (folder / "models" / "models.toml").write_text(SETTINGS)
    ports = ("--grpc-port", "0", "--control-grpc-port", "0")
    with serving(folder, "--models", str(folder / "models"), *ports, ready_s=90) as found:
        found.token = (folder / ".headrace/control.token").read_text().strip()
        yield found


@pytest.mark.parametrize("name", MODELS)
def test_values_and_rows_of_one_are_answered_as_they_are_asked(server, name):
    added = 3.0 if name == "half_plus_three" else 2.0
    url = f"http://127.0.0.1:{server.port}/v1/models/{name}:predict"
    due = [x / 2 + added for x in (1.0, 2.0, 5.0)]
    assert posted(url, {"instances": [1.0, 2.0, 5.0]}) == {"predictions": due}
    assert posted(url, {"inputs": {"x": [1.0, 2.0, 5.0]}}) == {"outputs": due}
    assert posted(url, {"signature_name": "serving_default", "instances": [{"x": 2.0}]}) == {"predictions": [due[1]]}


def test_declared_rows_of_one_are_taken_as_they_are(server):
    url = f"http://127.0.0.1:{server.port}/v1/models/half_plus_two/versions/123:predict"
    assert posted(url, {"instances": [[1.0], [2.0], [5.0]]}) == {"predictions": [[2.5], [3.0], [4.5]]}


def test_regress_and_classify(server):
    url, examples = f"http://127.0.0.1:{server.port}/v1/models/tf2", {"examples": [{"x": 1.0}, {"x": 5.0}]}
    assert posted(f"{url}:regress", examples) == {"results": [2.5, 4.5]}
    assert [[score for _, score in row] for row in posted(f"{url}:classify", examples)["results"]] == [[2.5], [4.5]]


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two/versions/123", "one_version", "tf2"])
def test_each_signature_answers_examples_and_serialised_ones(server, name):
    url = f"http://127.0.0.1:{server.port}/v1/models/{name}"
    for signature, added in (("regress_x_to_y", 2), ("regress_x_to_y2", 3)):
        asked = {"signature_name": signature, "examples": [{"x": 1.0}, {"x": [5.0]}]}
        assert posted(f"{url}:regress", asked) == {"results": [0.5 + added, 2.5 + added]}
        features = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[4.0]))}
        example = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
        sent = {"signature_name": signature, "instances": [{"b64": b64encode(example).decode()}]}
        assert posted(f"{url}:predict", sent) == {"predictions": [[2.0 + added]]}
    asked = {"signature_name": "classify_x_to_y", "context": {"x": 1.0}, "examples": [{}]}
    assert posted(f"{url}:classify", asked) == {"results": [[["", 2.5]]]}
    asked = {"signature_name": "regress_x2_to_y3", "instances": [1.0]}
    assert posted(f"{url}:predict", asked) == {"predictions": [3.5]}


def test_half_plus_three_regresses_by_the_signature_that_it_calls_so(server):
    """It says that its examples are numbers; its graph takes them serialised."""
    url = f"http://127.0.0.1:{server.port}/v1/models/half_plus_three"
    asked = {"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}
    assert posted(f"{url}:regress", asked) == {"results": [3.5, 4.0]}


@pytest.mark.parametrize(("feature", "why"), [({"x": 5}, "Data types don't match"), ({}, "Feature: x")])
def test_what_the_graph_says_of_a_feature_that_does_not_fit_is_told(server, feature, why):
    """A whole number is an int64 feature, as TensorFlow Serving reads JSON."""
    url = f"http://127.0.0.1:{server.port}/v1/models/half_plus_two:regress"
    with pytest.raises(HTTPError) as refused:
        posted(url, {"signature_name": "regress_x_to_y", "examples": [feature]})
    told = json.load(refused.value)["error"]
    assert why in told
    assert "\n" not in told


def test_metadata_tells_the_signatures_that_can_be_asked(server):
    with urlopen(f"http://127.0.0.1:{server.port}/v1/models/half_plus_two/metadata", timeout=10) as reply:
        told = json.load(reply)["metadata"]["signature_def"]["signature_def"]
    methods = {name: signature["method_name"].rpartition("/")[2] for name, signature in told.items()}
    regressions = dict.fromkeys(("regress_x_to_y", "regress_x_to_y2", "regress_x2_to_y3"), "regress")
    classifications = dict.fromkeys(("classify_x_to_y", "classify_x2_to_y3"), "classify")
    assert methods == {"serving_default": "predict", **regressions, **classifications}


def test_the_stubs_of_tensorflow_serving(server):
    quiet = {**os.environ, "GRPC_VERBOSITY": "ERROR", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(STUBS), server.rpc, server.control_rpc, server.token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_tritons_clients(server):
    clients = Path(__file__).parents[3] / ".venv-clients/bin/python"
    if not clients.exists():
        pytest.skip("`make test-frameworks` installs the clients in .venv-clients")
    command = [str(clients), str(STUBS.with_name("triton_clients.py")), f"127.0.0.1:{server.port}", server.rpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_one_is_imported_deployed_and_answers(tmp_path, monkeypatch, half_plus):
    """By the command line alone, and by another of its signatures."""
    monkeypatch.chdir(tmp_path)
    Path("headrace.toml").write_text(
        '[endpoint.half]\nschedule = [{model = "half@1", wait_ms = 3000}]\ndeadline_ms = 4000\n'
    )
    folder = half_plus / MODELS["one_version"] / "00000123"
    other = '{"tensors": {"x": [[1.0]]}, "outputs": {"y": [[2.5]]}}'
    example = '{"tensors": {"inputs": [[1.0], [2.0]]}, "outputs": {"outputs": [[3.5], [4.0]]}, "signatures": '
    example += f'{{"serving_default": {other}}}}}'
    asked = ["--name", "half", "--licence", "Apache-2.0", "--example", example, "--signature-name", "regress_x2_to_y3"]
    assert "half@1 registered: tensorflow, 3 rows answered alike" in headrace("models", "import", str(folder), *asked)
    headrace("serving", "deploy", "half")
    with serving(tmp_path, "--endpoint", "half", ready_s=90) as server:
        asked = {"signature_name": "regress_x2_to_y3", "instances": [1.0, 5.0]}
        assert posted(f"http://127.0.0.1:{server.port}/v1/models/half:predict", asked) == {"predictions": [3.5, 5.5]}
        asked = {"signature_name": "serving_default", "instances": [1.0]}
        assert posted(f"http://127.0.0.1:{server.port}/v1/models/half:predict", asked) == {"predictions": [2.5]}
