"""Keras models, each in a worker; what Keras computes with is what the environment names."""

import gzip
import importlib
import io
import json
import os
import zipfile
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from asked import headrace, posted, ready
from keras import layers
from keras.src.api_export import get_name_from_symbol, get_symbol_from_name
from server_process import serving, until
from sum_suite import SumSuite, kept_by

from headrace.conformance.runtime import SUM
from headrace.engines.keras.listed import LISTED
from headrace.engines.keras.model import declared
from headrace.engines.keras.runtime import open_runtime
from headrace.engines.keras.weights import check_weights
from headrace.errors import HeadraceError, IntegrityError, MissingExtra, Refused, SignatureError
from headrace.models.formats import sniffed
from headrace.models.signature import Tensor
from headrace.settings import Settings

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]

kept = partial(kept_by, open_runtime)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """total = a + 2 b."""
    model = keras.Sequential([keras.Input((2,), name="x"), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0], [2.0]], np.float32)])
    return saved(model, tmp_path_factory.mktemp("sum"))


def saved(model, folder):
    model.save(folder / "any.keras")
    return (folder / "any.keras").read_bytes()


class TestKeras(SumSuite):
    declares = True
    open_runtime = staticmethod(open_runtime)


def words():
    """Two inputs, text as numbers, a recurrent layer both ways, a vocabulary, an operation that is no layer."""
    ids, scale = keras.Input((None,), dtype="int32", name="ids"), keras.Input((1,), name="scale")
    found = layers.Bidirectional(layers.LSTM(4))(layers.Embedding(50, 8, mask_zero=True)(ids))
    return keras.Model([ids, scale], keras.ops.tanh(layers.Dense(3)(found)) * scale)


def picture():
    """Convolutions as they are trained, with what only training does; two outputs by name."""
    image = keras.Input((8, 8, 3), name="image")
    found = layers.RandomFlip()(layers.Rescaling(1 / 255)(image))
    found = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="gelu", kernel_regularizer="l2")(found))
    found = layers.Dropout(0.5)(layers.Flatten()(found[:, 1:]))
    kinds = layers.Dense(5, activation=keras.activations.softmax)(found)
    model = keras.Model({"image": image}, {"kinds": kinds, "best": keras.ops.max(kinds, axis=-1)})
    model.compile("adam", {"kinds": "categorical_crossentropy", "best": keras.losses.Huber()})
    return model


def attention():
    """A model within a model; several outputs in a list."""
    inner = keras.Sequential([keras.Input((6, 4)), layers.LayerNormalization(), layers.Dense(4, activation="relu")])
    series = keras.Input((6, 4), name="series")
    found = layers.MultiHeadAttention(2, 2)(inner(series), series)
    return keras.Model(series, [layers.GlobalAveragePooling1D()(found), layers.Flatten()(found)])


RNG = np.random.default_rng(7)
MODELS = {
    "words": (words, {"ids": RNG.integers(0, 50, (3, 5)).astype(np.int32), "scale": np.ones((3, 1), np.float32)}),
    "picture": (picture, {"image": RNG.uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)}),
    "attention": (attention, {"series": RNG.normal(size=(3, 6, 4)).astype(np.float32)}),
}
EXTENTS = {"words": (-1,), "picture": (8, 8, 3), "attention": (6, 4)}


def answered(model, inputs):
    arrays = list(inputs.values())
    found = model.predict_on_batch(arrays if arrays[1:] else arrays[0])
    if isinstance(found, dict):
        return found
    parts = found if isinstance(found, list) else [found]
    return {f"output_{i}" if parts[1:] else "output": value for i, value in enumerate(parts)}


@pytest.mark.parametrize(
    ("name", "backend"),
    [("words", "tensorflow"), ("picture", "tensorflow"), ("picture", "torch"), ("attention", "torch")],
)
def test_a_model_declares_its_tensors_and_answers_as_it_was_trained(tmp_path, monkeypatch, name, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    made, inputs = MODELS[name]
    model = made()
    due = answered(model, inputs)
    folder, runtime = kept(tmp_path, saved(model, tmp_path))
    signature = runtime.declared(folder)
    assert [(t.name, t.dtype) for t in signature.tensors] == [(n, str(a.dtype)) for n, a in inputs.items()]
    assert signature.tensors[0].shape == (-1, *EXTENTS[name])
    assert {o.name: o for o in signature.outputs} == {
        n: Tensor(n, "float32", (-1, *a.shape[1:])) for n, a in due.items()
    }
    loaded = runtime.load(folder, signature)
    for count in (1, 2, 3):
        answers = loaded.score({name: array[:count] for name, array in inputs.items()})
        assert answers.keys() == due.keys()
        for output, array in answers.items():
            np.testing.assert_allclose(array, due[output][:count], atol=1e-5)
    loaded.close()


def test_what_keras_computes_with_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "no_such_framework")
    with pytest.raises(MissingExtra, match=r"Keras needs no_such_framework.*KERAS_BACKEND"):
        open_runtime(Settings(root=tmp_path), "keras")


def test_a_model_that_never_said_what_it_takes_is_refused(tmp_path):
    folder, runtime = kept(tmp_path, saved(keras.Sequential([layers.Dense(1)]), tmp_path))
    with pytest.raises(SignatureError, match="does not say what it takes"):
        runtime.declared(folder)


def images(kind, count):
    folder = Path(os.environ["HEADRACE_TEST_DATA"]) / "fashion-mnist"
    with gzip.open(folder / f"{kind}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + count * 784), np.uint8, offset=16).reshape(count, 28, 28, 1)
    with gzip.open(folder / f"{kind}-labels-idx1-ubyte.gz") as file:
        return pixels.astype(np.float32), np.frombuffer(file.read(8 + count), np.uint8, offset=8).astype(np.int64)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    """A small network for images of clothes, trained on some of them, and what it says of others."""
    if "HEADRACE_TEST_DATA" not in os.environ:
        pytest.skip("HEADRACE_TEST_DATA names no folder with Fashion-MNIST")
    keras.utils.set_random_seed(7)
    parts = [keras.Input((28, 28, 1), name="image"), layers.Rescaling(1 / 255), layers.Conv2D(8, 3, activation="relu")]
    parts += [layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10, activation="softmax")]
    model = keras.Sequential(parts)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*images("train", 3000), epochs=2, verbose=0)
    pixels, labels = images("t10k", 200)
    return saved(model, tmp_path_factory.mktemp("fashion")), pixels, labels, model.predict_on_batch(pixels)


def test_a_network_for_clothes_is_imported_deployed_watched_and_answers_over_http(tmp_path, monkeypatch, fashion):
    """By the command line, and from a watched folder; through the Open Inference Protocol and TensorFlow Serving's."""
    content, pixels, labels, due = fashion
    assert (due.argmax(1) == labels).mean() > 0.7  # it has learned something, so that other weights would show
    monkeypatch.chdir(tmp_path)
    Path("any.bin").write_bytes(content)
    Path("headrace.toml").write_text(
        '[endpoint.clothes]\nschedule = [{model = "clothes@1", wait_ms = 3000}]\ndeadline_ms = 4000\n'
    )
    example = {"tensors": {"image": pixels[:3].tolist()}, "outputs": {"output": due[:3].tolist()}}
    Path("example.json").write_text(json.dumps(example))
    asked = ["any.bin", "--name", "clothes", "--licence", "MIT", "--example", "example.json"]
    assert "clothes@1 registered: keras, 3 rows answered alike" in headrace("models", "import", *asked)
    headrace("serving", "deploy", "clothes")
    watched = tmp_path / "models" / "watched" / "1"
    watched.mkdir(parents=True)
    (watched / "any.keras").write_bytes(content)
    with serving(tmp_path, "--models", str(tmp_path / "models"), ready_s=60) as server:
        address = f"http://127.0.0.1:{server.port}"
        tensor = {"name": "image", "datatype": "FP32", "shape": [50, 28, 28, 1], "data": pixels[:50].ravel().tolist()}
        (output,) = posted(f"{address}/v2/models/clothes/infer", {"inputs": [tensor]})["outputs"]
        assert output["shape"] == [50, 10]
        np.testing.assert_allclose(output["data"], due[:50].ravel(), atol=1e-5)
        for name in ("clothes", "watched"):
            until(lambda model=name: ready(f"{address}/v2/models/{model}"), within_s=60)
            said = posted(f"{address}/v1/models/{name}:predict", {"instances": pixels[50:52].tolist()})["predictions"]
            np.testing.assert_allclose(said, due[50:52], atol=1e-5)


def rebuilt(content, change):
    """The archive with its entries changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    change(entries)
    with zipfile.ZipFile(buffer, "w") as target:
        for name, found in entries.items():
            target.writestr(name, found)
    return buffer.getvalue()


def configured(layer):
    """Put a layer's configuration after the first."""

    def change(entries):
        config = json.loads(entries["config.json"])
        config["config"]["layers"].insert(1, layer)
        entries["config.json"] = json.dumps(config).encode()

    return change


def added(name, found):
    return lambda entries: entries.update({name: found})


def written(make):
    """Other weights, as ``make`` writes them."""

    def change(entries):
        file = io.BytesIO(entries["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            make(weights)
        entries["model.weights.h5"] = file.getvalue()

    return change


def replaced(weights, name="layers/dense/vars/0"):
    del weights[name]
    return name


def virtual(weights):
    layout = h5py.VirtualLayout((2, 1), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (2, 1))
    weights.create_virtual_dataset(replaced(weights), layout)


def external(weights):
    weights.create_dataset(replaced(weights), (2, 1), "f4", external=[("/etc/passwd", 0, 8)])


def linked(link):
    return lambda weights: weights.__setitem__(replaced(weights), link)


def alias(weights):
    weights["again"] = weights["layers"]


def bomb(weights):
    weights.create_dataset(replaced(weights), (1 << 40, 1), "f4", chunks=(1 << 20, 1), compression="gzip")


def reference(weights):
    weights.create_dataset(replaced(weights), data=[weights.ref], dtype=h5py.ref_dtype)


def text(weights):
    weights.create_dataset(replaced(weights), data=["a"], dtype=h5py.string_dtype())


WEIGHTS = {
    "external link": linked(h5py.ExternalLink("/etc/passwd", "/x")),
    "soft link": linked(h5py.SoftLink("/layers")),
    "external storage": external,
    "virtual": virtual,
    "circle": alias,
    "bomb": bomb,
    "reference": reference,
    "text": text,
}
MARSHALLED = {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAAAAAAAAEAAAACAAAA", "defaults": None}}
DOWNLOAD = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
HOSTILE = {
    "lambda": configured({"module": "keras.layers", "class_name": "Lambda", "config": {"function": MARSHALLED}}),
    "older lambda": configured({"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}}),
    "module": configured({"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}),
    "download": configured(DOWNLOAD),
    "vocabulary": configured(
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}
    ),
    "assets": added("assets/string_lookup/vocabulary.txt", b"a"),
    **{name: written(make) for name, make in WEIGHTS.items()},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused_before_keras_sees_it(tmp_path, content, name):
    (tmp_path / "model.keras").write_bytes(rebuilt(content, HOSTILE[name]))
    with pytest.raises((Refused, IntegrityError)):
        declared(tmp_path)
    if name in WEIGHTS:
        with zipfile.ZipFile(tmp_path / "model.keras") as archive, pytest.raises(Refused):
            check_weights(archive.read("model.weights.h5"))


def test_what_keras_is_known_to_run_or_read_is_refused_in_a_worker(tmp_path, content):
    """A layer that runs code: the word of the worker, over the command line's way."""
    folder, runtime = kept(tmp_path, rebuilt(content, HOSTILE["lambda"]))
    with pytest.raises(Refused, match=r"more than Keras' own layers - config.json - .*'Lambda'"):
        runtime.load(folder, SUM)


def test_an_extent_beyond_memory_costs_the_worker_only(tmp_path, content):
    dense = {"units": 1 << 40, "use_bias": False, "name": "wide"}
    layer = {"module": "keras.layers", "class_name": "Dense", "config": dense, "registered_name": None}
    folder, runtime = kept(tmp_path, rebuilt(content, configured(layer)))
    with pytest.raises(HeadraceError):
        runtime.load(folder, SUM)


@pytest.mark.parametrize("kind", ["h5", "hdf5"])
def test_a_model_in_hdf5_is_refused(tmp_path, kind):
    model = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / f"old.{kind}")
    with pytest.raises(Refused, match="HDF5 may hold code"):
        sniffed((tmp_path / f"old.{kind}").read_bytes())


def test_weights_of_another_model_are_refused(tmp_path, content):
    other = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    with zipfile.ZipFile(io.BytesIO(saved(other, tmp_path))) as archive:
        weights = archive.read("model.weights.h5")
    folder, runtime = kept(tmp_path, rebuilt(content, added("model.weights.h5", weights)))
    with pytest.raises(IntegrityError):
        runtime.load(folder, SUM)


def _found(module, name):
    """What Keras itself would find for a module and a name in a configuration."""
    found = get_symbol_from_name(f"{module}.{name}")
    return vars(importlib.import_module(module)).get(name) if found is None else found


def test_each_listed_class_is_there_and_of_its_own_module():
    strange = [(m, n) for m, names in LISTED.items() for n in names if not hasattr(_found(m, n), "from_config")]
    assert strange == []


def test_of_keras_layers_only_those_are_left_out_that_run_code_or_take_files():
    """A newer Keras that has more layers fails here: each is put on the list or beside it."""
    public = {get_name_from_symbol(found) for found in vars(keras.layers).values() if isinstance(found, type)}
    left_out = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Layer", "InputSpec"}
    assert {name.rpartition(".")[2] for name in public} - LISTED["keras.layers"] == left_out
