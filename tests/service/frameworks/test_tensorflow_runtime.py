"""TensorFlow's SavedModels, each in a worker."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.tensorflow.runtime import open_runtime
from headrace.engines.tensorflow.saved_model import declared
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
    assert signature.tensors == (Tensor("times", "int32", (-1,)), Tensor("word", "string", (-1,)))
    model = opened(tmp_path).load(folder, signature)
    answer = model.score({"word": np.array(["green", "blaü"], object), "times": np.array([3, 2], np.int32)})
    model.close()
    assert {name: array.tolist() for name, array in answer.items()} == {
        "louder": ["GREEN", "BLAü"],
        "number": [1, 2],
        "total": [3, 3],
    }


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
