"""LiteRT models, each in a worker, as TensorFlow's converter writes them."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from asked import headrace, posted, ready
from server_process import serving, until
from sum_suite import SumSuite, kept_by

from headrace.conformance.runtime import SUM
from headrace.engines.litert.program import entry, read
from headrace.engines.litert.runtime import open_runtime
from headrace.errors import HeadraceError, Refused, SignatureError
from headrace.models.signature import Signature, Tensor

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]

kept = partial(kept_by, open_runtime)


def converted(folder, function, *specs, operators=("TFLITE_BUILTINS",), optimized=False):
    """A model of a function of tensors: shape, type and name of each."""
    model = tf.Module()
    model.call = tf.function(function, input_signature=[tf.TensorSpec(*spec) for spec in specs])
    tf.saved_model.save(model, str(folder / "saved"), model.call)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name) for name in operators]
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if optimized else []
    return converter.convert()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """total = a + 2 b."""
    folder = tmp_path_factory.mktemp("sum")
    return converted(folder, lambda x: {"total": x @ tf.constant([[1.0], [2.0]])}, ((None, 2), tf.float32, "x"))


class TestLiteRt(SumSuite):
    declares = True
    open_runtime = staticmethod(open_runtime)


RNG = np.random.default_rng(7)
KERNEL = RNG.normal(size=(3, 3, 1, 4)).astype(np.float32)
DENSE = RNG.normal(size=(8 * 8 * 4, 5)).astype(np.float32)
WORDS = RNG.normal(size=(50, 6)).astype(np.float32)


def picture(image):
    """Takes one image and no more: its last reshape says so."""
    found = tf.nn.relu(tf.nn.conv2d(image, KERNEL, 1, "SAME"))
    kinds = tf.nn.softmax(tf.reshape(found, [1, 8 * 8 * 4]) @ DENSE)
    return {"kinds": kinds, "best": tf.argmax(kinds, 1)}


def shares(x):
    """Two rows at once would share what one has alone."""
    return {"share": x / tf.reduce_sum(x, keepdims=True)}


def meaning(ids, scale):
    return {"meaning": tf.reduce_mean(tf.gather(WORDS, ids), 1) * scale}


IMAGES = RNG.uniform(0, 1, (3, 8, 8, 1)).astype(np.float32)
MODELS = {
    "picture": (picture, {"image": IMAGES}, (1, 8, 8, 1)),
    "shares": (shares, {"x": RNG.uniform(1, 2, (3, 4)).astype(np.float32)}, (1, 4)),
    "meaning": (
        meaning,
        {"ids": RNG.integers(0, 50, (3, 7)).astype(np.int32), "scale": np.ones((3, 1), np.float32)},
        None,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_any_number_of_rows_and_answers_each_as_it_was_converted(tmp_path, name):
    function, inputs, shape = MODELS[name]
    specs = [(shape or (None, *array.shape[1:]), array.dtype, key) for key, array in inputs.items()]
    folder, runtime = kept(tmp_path, converted(tmp_path, function, *specs))
    rows = [function(*(tf.constant(array[i : i + 1]) for array in inputs.values())) for i in range(3)]
    due = {key: np.concatenate([row[key].numpy() for row in rows]) for key in rows[0]}
    signature = runtime.declared(folder)
    taken = {Tensor(key, str(array.dtype), (-1, *array.shape[1:])) for key, array in inputs.items()}
    given = {Tensor(key, str(array.dtype), (-1, *array.shape[1:])) for key, array in due.items()}
    assert (set(signature.inputs), set(signature.outputs)) == (taken, given)
    loaded = runtime.load(folder, signature)
    for count in (1, 3, 2):
        answers = loaded.score({key: array[:count] for key, array in inputs.items()})
        assert answers.keys() == due.keys()
        for key, array in answers.items():
            np.testing.assert_allclose(array, due[key][:count], atol=1e-5)
    loaded.close()


def test_a_quantized_model_answers_nearly_as_the_whole(tmp_path):
    content = converted(tmp_path, lambda x: {"y": x @ DENSE}, ((None, 256), tf.float32, "x"), optimized=True)
    folder, runtime = kept(tmp_path, content)
    loaded = runtime.load(folder, runtime.declared(folder))
    rows = RNG.normal(size=(2, 256)).astype(np.float32)
    np.testing.assert_allclose(loaded.score({"x": rows})["y"], rows @ DENSE, atol=0.5)
    loaded.close()


class Many(tf.Module):
    """Signatures of rows, one of text, which LiteRT models are not asked for, and one that is of one row alone."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")])
    def added(self, x):
        return {"y": x + 1.0}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")])
    def doubled(self, x):
        return {"y": x * 2.0}

    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32, "z")])
    def summed(self, z):
        return {"sum": tf.reshape(tf.reduce_sum(z), [1])}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "word")])
    def spoken(self, word):
        return {"same": tf.reshape(word, [-1, 1])}


def of_many(folder, **signatures):
    """A LiteRT model of ``Many``: signature to function."""
    model = Many()
    named = {name: getattr(model, function) for name, function in signatures.items()}
    tf.saved_model.save(model, str(folder / "saved"), named)
    return tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"), signature_keys=list(named)).convert()


ADDED = Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("y", "float32", (-1, 2)),))
SUMMED = Signature("tensor", (Tensor("z", "float32", (-1, 3)),), (Tensor("sum", "float32", (-1,)),), "summed")


def test_each_signature_of_a_model_is_served_by_its_name(tmp_path):
    content = of_many(tmp_path, added="added", doubled="doubled", summed="summed", spoken="spoken")
    folder, runtime = kept(tmp_path, content)
    with pytest.raises(SignatureError, match="added, doubled"):
        runtime.declared(folder)
    doubled = replace(ADDED, name="doubled")
    signature = runtime.declared(folder, "added")
    assert signature == replace(ADDED, name="added", others=(doubled, SUMMED))  # text does not travel
    assert runtime.declared(folder, "doubled") == replace(doubled, others=(replace(ADDED, name="added"), SUMMED))
    loaded = runtime.load(folder, signature)
    rows = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    np.testing.assert_allclose(loaded.score({"x": rows})["y"], rows + 1)
    np.testing.assert_allclose(loaded.signed("doubled").score({"x": rows})["y"], rows * 2)
    threes = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(loaded.signed("summed").score({"z": threes})["sum"], [3.0, 12.0])
    loaded.close()


def test_a_request_chooses_among_the_signatures_of_a_model(tmp_path, monkeypatch):
    """As with a SavedModel: the default is served unasked, and metadata tells all."""
    (tmp_path / "many.tflite").write_bytes(of_many(tmp_path, serving_default="added", doubled="doubled"))
    schedule = 'schedule = [{model = "many@1", wait_ms = 3000}]\ndeadline_ms = 4000\ndefault = {y = 0.0}\n'
    (tmp_path / "headrace.toml").write_text(f"[endpoint.many]\n{schedule}")
    monkeypatch.chdir(tmp_path)
    example = {"tensors": {"x": [[1.0, 2.0]]}, "outputs": {"y": [[2.0, 3.0]]}}
    said = ("--name", "many", "--licence", "MIT", "--example", json.dumps(example))
    headrace("models", "import", "many.tflite", *said)
    headrace("serving", "deploy", "many")
    with serving(tmp_path, "--endpoint", "many") as server:
        client, rows = server.client, [[1.0, 2.0]]
        assert client.predict("many", rows=rows).values == [[2.0, 3.0]]
        assert client.predict("many", rows=rows, signature="doubled").values == [[2.0, 4.0]]
        found = json.loads(client.request("GET", "/v1/models/many/metadata").body)
        assert set(found["metadata"]["signature_def"]["signature_def"]) == {"serving_default", "doubled"}


def test_operators_of_tensorflow_itself_are_refused(tmp_path):
    spec = ((None, 2), tf.float32, "x")
    content = converted(tmp_path, lambda x: {"y": x + 1.0}, spec, operators=("SELECT_TF_OPS",))
    folder, runtime = kept(tmp_path, content)
    with pytest.raises(Refused, match=r"Flex delegate's operator - Flex\w+ is not built in"):
        runtime.load(folder, SUM)


def test_text_does_not_travel(tmp_path):
    content = converted(tmp_path, lambda x: {"y": tf.reshape(x, [-1, 1])}, ((None,), tf.string, "x"))
    with pytest.raises(SignatureError, match="'x' has a type that does not travel"):
        kept(tmp_path, content)[1].declared(tmp_path / "model")


def test_no_changed_bit_takes_more_than_a_worker_with_it(tmp_path, content):
    """What is read as a model all the same is loaded by LiteRT in a worker, or refused there in our words."""
    changed, passed = bytearray(content), []
    for bit in np.random.default_rng(7).choice(len(content) * 8, 500, replace=False).tolist():
        changed[bit // 8] ^= 1 << bit % 8
        try:
            entry(read(bytes(changed)))
            passed.append(bytes(changed))
        except HeadraceError:
            pass
        changed[bit // 8] ^= 1 << bit % 8
    assert len(passed) < 450
    folder, runtime = kept(tmp_path, content)
    for found in passed[:: len(passed) // 8]:
        (folder / "model.litert").write_bytes(found)
        with suppress(HeadraceError):
            runtime.load(folder, SUM).close()


HALF = "half_plus_two/saved_model_half_plus_two_tflite/00000123/model.tflite"


@pytest.fixture
def half():
    """y = x / 2 + 2 of one number, without signatures, as TensorFlow Serving's tests have it."""
    if "HEADRACE_TEST_DATA" not in os.environ:
        pytest.skip("HEADRACE_TEST_DATA names no folder with half_plus_two")
    return (Path(os.environ["HEADRACE_TEST_DATA"]) / HALF).read_bytes()


def test_half_plus_two_is_imported_deployed_and_answers_over_http(tmp_path, monkeypatch, half):
    """By the command line alone; both through the Open Inference Protocol and TensorFlow Serving's."""
    monkeypatch.chdir(tmp_path)
    Path("any.bin").write_bytes(half)
    Path("headrace.toml").write_text(
        '[endpoint.half]\nschedule = [{model = "half@1", wait_ms = 3000}]\ndeadline_ms = 4000\n'
    )
    rows, due = [[1.0], [2.0], [5.0]], [[2.5], [3.0], [4.5]]
    example = json.dumps({"tensors": {"x": rows}, "outputs": {"y": due}})
    asked = ["any.bin", "--name", "half", "--licence", "Apache-2.0", "--example", example]
    assert "half@1 registered: litert, 3 rows answered alike" in headrace("models", "import", *asked)
    headrace("serving", "deploy", "half")
    with serving(tmp_path, "--endpoint", "half") as server:
        address = f"http://127.0.0.1:{server.port}"
        tensor = {"name": "x", "datatype": "FP32", "shape": [3, 1], "data": [1.0, 2.0, 5.0]}
        (output,) = posted(f"{address}/v2/models/half/infer", {"inputs": [tensor]})["outputs"]
        assert (output["name"], output["shape"], output["data"]) == ("y", [3, 1], [2.5, 3.0, 4.5])
        assert posted(f"{address}/v1/models/half:predict", {"instances": rows})["predictions"] == due


def test_half_plus_two_is_served_from_a_watched_folder(tmp_path, half):
    """As TensorFlow Serving and Triton have models: a file below a number, nothing beside it."""
    folder = tmp_path / "models" / "half" / "00000123"
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(half)
    (tmp_path / "headrace.toml").write_text("")
    with serving(tmp_path, "--models", str(tmp_path / "models")) as server:
        address = f"http://127.0.0.1:{server.port}"
        until(lambda: ready(f"{address}/v2/models/half"))
        said = posted(f"{address}/v1/models/half:predict", {"instances": [1.0, 2.0, 5.0]})
        assert said["predictions"] == [2.5, 3.0, 4.5]
