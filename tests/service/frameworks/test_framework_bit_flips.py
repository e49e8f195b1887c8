"""Models as frameworks write them: with one bit changed they reach no framework."""

import io

import keras
import pytest
import tensorflow as tf
import torch
from flipped import missed

from headrace.assembly import open_platform
from headrace.conformance.runtime import SUM
from headrace.models.artifact import Artifact
from headrace.models.formats import sniffed
from headrace.settings import Settings

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def _keras(folder):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def _litert(folder):
    call = tf.function(lambda x: x @ [[1.0], [2.0]], input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")])
    return tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()]).convert()


def _torch(folder):
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(3, 2),)), buffer)
    return buffer.getvalue()


def _torchscript(folder):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("make", [_keras, _litert, _torch, _torchscript], ids=lambda make: make.__name__.strip("_"))
def test_no_flipped_bit_is_loaded(tmp_path, make, figure):
    content = make(tmp_path)
    format_ = sniffed(content)
    platform = open_platform(Settings(root=tmp_path))
    files = {f"model.{format_}": content, "examples.json": b'{"columns": {"a": [1.0], "b": [2.0]}, "outputs": {}}'}
    found = missed(platform, Artifact(format_, files, ("a", "b"), ("total",)), SUM)
    platform.close()
    figure("serving.bitflip_missed", found)
    assert found == 0
