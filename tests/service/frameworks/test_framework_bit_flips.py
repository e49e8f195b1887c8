"""Models as frameworks write them: with one bit changed they reach no framework."""

import keras
import pytest
import tensorflow as tf
import torch
from flipped import missed

from headrace.assembly import open_platform
from headrace.conformance.runtime import SUM
from headrace.models.artifact import Artifact
from headrace.models.formats import recognised
from headrace.settings import Settings

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def _keras(folder):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(folder / "model.keras")
    return folder / "model.keras"


def _litert(folder):
    call = tf.function(lambda x: x @ [[1.0], [2.0]], input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")])
    content = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()]).convert()
    (folder / "model.tflite").write_bytes(content)
    return folder / "model.tflite"


def _tensorflow(folder):
    module = tf.Module()
    module.weights = tf.Variable([[1.0], [2.0]])
    module.serve = tf.function(
        lambda x: x @ module.weights, input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")]
    )
    tf.saved_model.save(module, str(folder / "saved"), module.serve)
    return folder / "saved"


def _torch(folder):
    torch.export.save(torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(3, 2),)), folder / "model.pt2")
    return folder / "model.pt2"


def _torchscript(folder):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), folder / "model.pt")
    return folder / "model.pt"


MAKES = (_keras, _litert, _tensorflow, _torch, _torchscript)


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__.strip("_"))
def test_no_flipped_bit_is_loaded(tmp_path, make, figure):
    format_, files = recognised(make(tmp_path))
    files["examples.json"] = b'{"columns": {"a": [1.0], "b": [2.0]}, "outputs": {}}'
    platform = open_platform(Settings(root=tmp_path))
    found = missed(platform, Artifact(format_, files, ("a", "b"), ("total",)), SUM)
    platform.close()
    figure("serving.bitflip_missed", found)
    assert found == 0
