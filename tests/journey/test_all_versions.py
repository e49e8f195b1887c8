"""Two versions of a model on one image of Fashion-MNIST, beside each other."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from headrace.assembly import open_platform
from headrace.delivery.deploy import deploy
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import load_settings


def images(kind, count):
    folder = Path(os.environ["HEADRACE_TEST_DATA"]) / "fashion-mnist"
    with gzip.open(folder / f"{kind}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + count * 784), np.uint8, offset=16).reshape(count, 784)
    with gzip.open(folder / f"{kind}-labels-idx1-ubyte.gz") as file:
        return pixels, np.frombuffer(file.read(8 + count), np.uint8, offset=8)


def onnx_of(model):
    return to_onnx(model, np.zeros((1, 784), np.float32), options={"zipmap": False}).SerializeToString()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    if "HEADRACE_TEST_DATA" not in os.environ:
        pytest.skip("HEADRACE_TEST_DATA names no folder with Fashion-MNIST")
    root = tmp_path_factory.mktemp("fashion")
    (root / "headrace.toml").write_text("port = 0\n")
    pixels, labels = images("train", 2000)
    scaled = (pixels / 255).astype(np.float32)
    models = [
        LogisticRegression(C=0.01, max_iter=500, tol=0.01).fit(scaled[:rows], labels[:rows]) for rows in (200, 2000)
    ]
    platform = open_platform(load_settings(root))
    versions = []
    for model in models:
        artifact = Artifact("onnx", {"model.onnx": onnx_of(model)}, ("X",), ("probabilities",))
        answers = {"probabilities": model.predict_proba(scaled[:4]).astype(np.float32)}
        asked = Registration("fashion", {"X": scaled[:4]}, "MIT", answers=answers)
        versions.append(str(register(platform.stores(), artifact, asked)))
    schedule = (Preference(versions[1], 1.0),)
    deploy(platform.ledger(), Endpoint("fashion", schedule, 2.0, standby=(versions[0],)), who="test")
    platform.services().start(gateway_spec(root))
    yield root, models
    platform.services().stop(GATEWAY)
    platform.close()


def headrace(root, *arguments, stdin=None):
    command = [sys.executable, "-m", "headrace", "serving", "predict", "fashion", *arguments]
    return subprocess.run(command, cwd=root, input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def boot(served):
    pixels, labels = images("t10k", 200)
    number = int(np.flatnonzero(labels == 9)[0])  # an ankle boot
    path = served[0] / "boot.png"
    Image.fromarray(pixels[number].reshape(28, 28)).save(path)
    return path, (pixels[number] / 255).astype(np.float32)


def test_an_image_is_answered_as_its_pixels_are(served, boot):
    done = headrace(served[0], "--image", str(boot[0]), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["winner"] == "fashion@2"
    due = served[1][1].predict_proba(boot[1][None])[0]
    np.testing.assert_allclose(found["predictions"][0], due, atol=1e-5)
    piped = headrace(served[0], "--file", "-", "--json", stdin=json.dumps([boot[1].tolist()]))
    assert json.loads(piped.stdout)["predictions"] == found["predictions"]


def test_all_versions_answer_the_same_image_beside_each_other(served, boot):
    done = headrace(served[0], "--image", str(boot[0]), "--all-versions", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for number, model in enumerate(served[1], 1):
        answer = found["versions"][f"fashion@{number}"]["predictions"][0]
        np.testing.assert_allclose(answer, model.predict_proba(boot[1][None])[0], atol=1e-5)
    read = headrace(served[0], "--image", str(boot[0]), "--all-versions").stdout.splitlines()
    assert read[0].split() == ["CLASS", "FASHION@2", "FASHION@1"]
    assert len(read) == 12
    assert read[-1].startswith(("all versions agree: ", "versions differ: "))


def test_what_does_not_go_together_is_said(served, boot):
    both = headrace(served[0], "--image", str(boot[0]), "--row", "{}")
    assert (both.returncode, "give the input once" in both.stderr) == (2, True)
    one = headrace(served[0], "--image", str(boot[0]), "--version", "1", "--all-versions")
    assert (one.returncode, "--version and --all-versions" in one.stderr) == (2, True)
    gone = headrace(served[0], "--image", "no.png")
    assert (gone.returncode, "the image cannot be read" in gone.stderr) == (2, True)
