"""SavedModels that take bytes: image files that they decode themselves, on every protocol and by the command line."""

import gzip
import json
import os
import struct
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from asked import headrace, posted
from PIL import Image
from server_process import serving

from headrace.assembly import open_platform
from headrace.placement.gateway import GATEWAY
from headrace.settings import load_settings

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]

STUBS = Path(__file__).parent / "calls" / "bytes_stubs.py"
SETTINGS = """
port = 0

[endpoint.photos]
schedule = [{model = "photos@2", wait_ms = 3000}]
standby = ["photos@1"]
deadline_ms = 4000
"""


class Photos(tf.Module):
    """How light an image file is, times ``scale``, and the file made anew."""

    def __init__(self, scale):
        self.scale = tf.Variable(scale)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
    def serve(self, image):
        pixels = tf.map_fn(
            lambda file: tf.io.decode_png(file, 1), image, fn_output_signature=tf.TensorSpec([28, 28, 1], tf.uint8)
        )
        again = tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.TensorSpec([], tf.string))
        return {"light": self.scale * tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2, 3]), "again_bytes": again}


def boots():
    """Two images of Fashion-MNIST."""
    if "HEADRACE_TEST_DATA" not in os.environ:
        pytest.skip("HEADRACE_TEST_DATA names no folder with Fashion-MNIST")
    with gzip.open(Path(os.environ["HEADRACE_TEST_DATA"]) / "fashion-mnist" / "t10k-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(16 + 2 * 784), np.uint8, offset=16).reshape(2, 28, 28)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A project with both versions deployed; the files, and how light each is."""
    root, pixels = tmp_path_factory.mktemp("photos"), boots()
    files = [root / f"boot{number}.png" for number in range(2)]
    for file, one in zip(files, pixels, strict=True):
        Image.fromarray(one).save(file)
    (root / "headrace.toml").write_text(SETTINGS)
    before = Path.cwd()
    os.chdir(root)
    try:
        for scale in (1.0, 2.0):
            tf.saved_model.save(Photos(scale), str(root / "saved"))
            light = [float(scale * one.mean()) for one in pixels]
            cells = [{"b64": b64encode(file.read_bytes()).decode()} for file in files]
            example = root / "example.json"
            example.write_text(
                json.dumps({"tensors": {"image": cells}, "outputs": {"light": light, "again_bytes": again(pixels)}})
            )
            said = headrace(
                *("models", "import", "saved", "--name", "photos", "--licence", "MIT", "--example", "example.json")
            )
            assert "2 rows answered alike" in said
        headrace("serving", "deploy", "photos")
    finally:
        os.chdir(before)
    return root, files, [2 * float(one.mean()) for one in pixels]


def again(pixels):
    encoded = (tf.io.encode_png(one[:, :, None]).numpy() for one in pixels)
    return [{"b64": b64encode(one).decode()} for one in encoded]


@pytest.fixture(scope="module")
def server(photos):
    with serving(photos[0], "--endpoint", "photos", "--grpc-port", "0", ready_s=90) as found:
        yield found


def test_rest_takes_files_and_answers_them(server, photos):
    _, files, light = photos
    cells = [{"b64": b64encode(file.read_bytes()).decode()} for file in files]
    url = f"http://127.0.0.1:{server.port}/v1/models/photos:predict"
    rows = posted(url, {"instances": cells})["predictions"]
    np.testing.assert_allclose([row["light"] for row in rows], light, rtol=1e-5)
    for row, one in zip(rows, boots(), strict=True):
        assert (tf.io.decode_png(b64decode(row["again_bytes"]["b64"]))[:, :, 0].numpy() == one).all()
    np.testing.assert_allclose(posted(url, {"inputs": {"image": cells}})["outputs"]["light"], light, rtol=1e-5)


def test_the_open_inference_protocol_takes_them_in_json_and_raw(server, photos):
    _, files, light = photos
    url = "/v2/models/photos/infer"
    cells = [{"b64": b64encode(file.read_bytes()).decode()} for file in files]
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES"}
    found = json.loads(
        server.client.request("POST", url, json.dumps({"inputs": [{**tensor, "data": cells}]}).encode()).body
    )
    assert [output["name"] for output in found["outputs"]] == ["again_bytes", "light"]
    np.testing.assert_allclose(found["outputs"][1]["data"], light, rtol=1e-5)
    answer, outputs = server.client.infer("photos", {"image": np.array([f.read_bytes() for f in files], object)})
    np.testing.assert_allclose(outputs["light"], light, rtol=1e-5)
    assert outputs["again_bytes"][0].startswith(b"\x89PNG")
    body = files[0].read_bytes()
    reply = server.client.request("POST", url, body, {"inference-header-content-length": "0"})
    size = int(reply.header("inference-header-content-length"))
    raw = json.loads(reply.body[:size])["outputs"][1]["parameters"]["binary_data_size"]
    np.testing.assert_allclose(struct.unpack("<f", reply.body[-raw:]), light[:1], rtol=1e-5)
    assert answer.winner == "photos@2"


def test_the_stubs_of_tensorflow_serving_send_them(server, photos):
    quiet = {**os.environ, "GRPC_VERBOSITY": "ERROR", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(STUBS), server.rpc, "photos", *map(str, photos[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_is_no_image_costs_its_own_request(server, photos):
    cells = [{"b64": b64encode(b"no image").decode()}]
    reply = server.client.request("POST", "/v1/models/photos:predict", json.dumps({"instances": cells}).encode())
    assert reply.status == 500
    assert server.client.predict("photos", rows=[photos[1][0].read_bytes()]).winner == "photos@2"


def test_the_command_line_sends_a_file_compares_versions_and_explains(photos, monkeypatch):
    root, files, light = photos
    monkeypatch.chdir(root)
    headrace("serving", "run", "photos", "--detach")
    try:
        told = json.loads(headrace("serving", "predict", "photos", "--image", str(files[0]), "--json"))
        np.testing.assert_allclose(told["predictions"][0]["light"], light[0], rtol=1e-5)
        named = ("--image", str(files[0]), "--signature", "serving_default", "--json")
        assert json.loads(headrace("serving", "predict", "photos", *named))["predictions"] == told["predictions"]
        both = json.loads(
            headrace("serving", "predict", "photos", "--image", str(files[0]), "--all-versions", "--json")
        )
        found = [both["versions"][f"photos@{number}"]["predictions"][0]["light"] for number in (1, 2)]
        np.testing.assert_allclose(found, [light[0] / 2, light[0]], rtol=1e-5)
        explained = json.loads(headrace("serving", "explain", told["id"], "--json"))
        assert explained["input"]["image"] == [{"b64": b64encode(files[0].read_bytes()).decode()}]
    finally:
        platform = open_platform(load_settings(root))
        platform.services().stop(GATEWAY)
        platform.close()
