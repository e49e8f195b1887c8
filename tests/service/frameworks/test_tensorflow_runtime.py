"""TensorFlow's SavedModels, each in a worker."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.tensorflow.operations import COMPUTING, READS
from headrace.engines.tensorflow.runtime import open_runtime
from headrace.engines.tensorflow.saved_model import declared
from headrace.errors import Refused, SignatureError
from headrace.models.signature import Signature, Tensor
from headrace.settings import Settings

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]

ROWS = tf.TensorSpec([None, 2], tf.float32, "x")


class Sum(tf.Module):
    def __init__(self):
        self.weights = tf.Variable([[1.0], [2.0]])

    @tf.function(input_signature=[ROWS])
    def serve(self, x):
        return {"total": x @ self.weights}


class Words(tf.Module):
    """Text looked up in a vocabulary that the model keeps as an asset; counts by a loop."""

    def __init__(self, vocabulary):
        self.words = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(vocabulary),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            1,
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.int32, "times")])
    def serve(self, word, times):
        total = tf.zeros_like(times)
        for _ in tf.range(tf.reduce_max(times)):
            total += 1
        return {"number": self.words.lookup(word), "louder": tf.strings.upper(word), "total": total}


def saved(model, path, signatures=None):
    """The folder of a registered model."""
    tf.saved_model.save(model, str(path / "model" / "model.tensorflow"), signatures or model.serve)
    return path / "model"


def opened(folder):
    return open_runtime(Settings(root=folder), "tensorflow")


class TestSavedModels(RuntimeSuite):
    declares = True
    names_outputs = False

    @pytest.fixture
    def runtime(self, tmp_path):
        return opened(tmp_path)

    @pytest.fixture
    def folder(self, tmp_path):
        folder = saved(Sum(), tmp_path)
        (
            folder / "model.tensorflow" / "fingerprint.pb"
        ).unlink()  # TensorFlow's note on what it saved; nothing reads it
        return folder

    @pytest.fixture
    def tensors(self):
        return Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("total", "float32", (-1, 1)),))


def test_text_tables_and_loops_are_served(tmp_path):
    (tmp_path / "words.txt").write_text("red\ngreen\n")
    folder = saved(Words(tmp_path / "words.txt"), tmp_path)
    (tmp_path / "words.txt").unlink()
    signature = declared(folder)
    assert signature.tensors == (Tensor("times", "int32", (-1,)), Tensor("word", "bytes", (-1,)))
    model = opened(tmp_path).load(folder, signature)
    answer = model.score({"word": np.array(["green", "blaü"], object), "times": np.array([3, 2], np.int32)})
    model.close()
    assert {name: array.tolist() for name, array in answer.items()} == {
        "louder": [b"GREEN", "BLAü".encode()],
        "number": [1, 2],
        "total": [3, 3],
    }


class TwoWays(tf.Module):
    """The same weights and vocabulary for a word, and for a serialised example with one."""

    def __init__(self, vocabulary):
        self.weights = tf.Variable([2.0, 5.0, 7.0])
        self.words = Words(vocabulary).words

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "word")])
    def serve(self, word):
        return {"weight": tf.gather(self.weights, self.words.lookup(word))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def parse(self, inputs):
        found = tf.io.parse_example(inputs, {"word": tf.io.FixedLenFeature([], tf.string)})
        return {"outputs": self.serve(found["word"])["weight"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "word")])
    def write(self, word):
        tf.io.write_file("written", word[0])
        return {"word": word}


def test_signatures_share_variables_and_tables_and_those_that_write_are_left_out(tmp_path):
    (tmp_path / "words.txt").write_text("red\ngreen\n")
    model = TwoWays(tmp_path / "words.txt")
    signatures = {"serving_default": model.serve, "by_example": model.parse, "writes": model.write}
    folder = saved(model, tmp_path, signatures)
    signature = declared(folder)
    assert [(other.name, other.tensors) for other in signature.others] == [
        ("by_example", (Tensor("inputs", "bytes", (-1,)),))
    ]
    asked = declared(folder, "by_example")
    assert (asked.name, [other.name for other in asked.others]) == ("by_example", ["serving_default"])
    with pytest.raises(Refused, match="WriteFile"):
        declared(folder, "writes")
    loaded = opened(tmp_path).load(folder, signature)
    example = tf.train.Example()
    example.features.feature["word"].bytes_list.value.append(b"green")
    by_example = loaded.signed("by_example").score({"inputs": np.array([example.SerializeToString()], object)})
    by_word = loaded.score({"word": np.array([b"green", b"red"], object)})
    loaded.close()
    assert (by_example["outputs"].tolist(), by_word["weight"].tolist()) == ([5.0], [5.0, 2.0])


def test_a_network_of_keras_answers_as_it_was_trained(tmp_path):
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 3)),
            *(layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D()),
            *(layers.Reshape((9, 4)), layers.LSTM(5), layers.Dropout(0.5), layers.Dense(2, activation="softmax")),
        ]
    )
    model.export(str(tmp_path / "model" / "model.tensorflow"), verbose=False)
    pixels = np.random.default_rng(7).normal(size=(3, 8, 8, 3)).astype(np.float32)
    signature = declared(tmp_path / "model")
    (taken,), (given,) = signature.inputs, signature.outputs
    assert (taken.shape, given.shape) == ((-1, 8, 8, 3), (-1, 2))
    served = opened(tmp_path).load(tmp_path / "model", signature)
    answer = served.score({taken.name: pixels})[given.name]
    served.close()
    np.testing.assert_allclose(answer, model(pixels, training=False).numpy(), atol=1e-6)


def test_a_graph_of_tensorflow_1_is_served_without_what_trained_it(tmp_path):
    """What it is served by lay beside an operation of its training, which is left out."""
    v1, folder = tf.compat.v1, tmp_path / "model"
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], "x")
        weights = v1.get_variable("weights", initializer=[[1.0], [2.0]], use_resource=False)
        trained = v1.assign_add(weights, [[1.0], [1.0]])
        with graph.colocate_with(trained.op):
            total = tf.identity(x @ weights)
        session.run(v1.global_variables_initializer())
        session.run(trained)
        v1.saved_model.simple_save(session, str(folder / "model.tensorflow"), {"x": x}, {"total": total})
    signature = declared(folder)
    assert signature.outputs == (Tensor("total", "float32", (-1, 1)),)
    model = opened(tmp_path).load(folder, signature)
    assert model.score({"x": np.array([[1, 1], [0, 2]], np.float32)})["total"].tolist() == [[5.0], [6.0]]
    model.close()


def test_a_model_is_asked_by_the_signature_that_is_named(tmp_path):
    model = Sum()
    double = tf.function(lambda x: {"double": x * 2}, input_signature=[ROWS])
    folder = saved(model, tmp_path, {"total": model.serve, "double": double})
    with pytest.raises(SignatureError, match="no signature 'serving_default'") as caught:
        declared(folder)
    assert caught.value.why == "it has double, total"
    signature = declared(folder, "double")
    assert (signature.name, signature.outputs) == ("double", (Tensor("double", "float32", (-1, 2)),))
    model = opened(tmp_path).load(folder, signature)
    assert model.score({"x": np.ones((1, 2), np.float32)})["double"].tolist() == [[2.0, 2.0]]
    model.close()


@pytest.mark.parametrize(
    ("shape", "answer", "due"),
    [
        ([1, 2], lambda x: x * 2, ((-1, 2), (-1, 2))),
        ([], lambda x: x * 2, ((-1,), (-1,))),
        ([1, 2], lambda x: tf.reshape(x, [2]), ((1, 2), (2,))),
        ([3, 2], lambda x: x * 2, ((-1, 2), (-1, 2))),
    ],
    ids=["one row", "a value", "one row only", "three rows"],
)
def test_a_model_of_so_many_rows_is_served_by_rows_where_it_takes_them(tmp_path, shape, answer, due):
    made = tf.function(lambda x: {"y": answer(x)}, input_signature=[tf.TensorSpec(shape, tf.float32, "x")])
    module = tf.Module()
    module.serve = made
    found = declared(saved(module, tmp_path))
    assert (found.tensors[0].shape, found.outputs[0].shape) == due


def test_a_model_that_answers_no_rows_is_refused(tmp_path):
    module = tf.Module()
    module.serve = tf.function(lambda x: {"y": tf.reduce_sum(x)}, input_signature=[ROWS])
    with pytest.raises(SignatureError, match="takes no rows"):
        declared(saved(module, tmp_path))


def texts():
    layers = tf.keras.layers
    words = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    words.adapt(["a good day", "a bad day"])
    taken = tf.keras.Input((1,), dtype="string")
    found = layers.Embedding(20, 6)(words(taken))
    found = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(found, found) + found)
    return tf.keras.Model(taken, layers.Bidirectional(layers.GRU(3))(found)), [["a good day"], ["no day"]]


def pictures():
    layers = tf.keras.layers
    parts = [layers.Rescaling(1 / 255), layers.Resizing(8, 8), layers.SeparableConv2D(4, 2)]
    parts += [layers.Conv2DTranspose(3, 2), layers.UpSampling2D(), layers.GlobalMaxPooling2D(), layers.PReLU()]
    pixels = np.random.default_rng(7).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    return tf.keras.Sequential([tf.keras.Input((16, 16, 3)), *parts]), pixels.tolist()


@pytest.mark.parametrize("make", [texts, pictures])
def test_what_keras_prepares_inputs_with_is_served_too(tmp_path, make):
    model, rows = make()
    model.export(str(tmp_path / "model" / "model.tensorflow"), verbose=False)
    signature = declared(tmp_path / "model")
    (taken,), (given,) = signature.tensors, signature.outputs
    served = opened(tmp_path).load(tmp_path / "model", signature)
    answer = served.score({taken.name: np.array(rows, object if taken.dtype == "string" else taken.dtype)})[given.name]
    served.close()
    np.testing.assert_allclose(answer, model(tf.constant(rows), training=False).numpy(), atol=1e-5)


def test_every_operation_on_the_list_is_tensorflows():
    """One that nothing has would hide a slip of the pen, or what a newer TensorFlow calls otherwise."""
    assert len(COMPUTING) > 500
    assert [name for name in sorted({*COMPUTING, *READS}) if op_def_registry.get(name) is None] == []
