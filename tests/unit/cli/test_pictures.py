"""An image as input of the command line: what it becomes follows from the signature that is asked."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from served import Gated
from tensor_served import several

from headrace.cli.pictures import image_row
from headrace.errors import SignatureError, UsageError
from headrace.models.signature import Signature, Tensor
from headrace.serving.endpoint import Endpoint, Preference

LIGHT = (Tensor("light", "float32", (-1,)),)
GREY, COLOUR, FILE = (
    (Tensor("x", dtype, shape),)
    for dtype, shape in [("float32", (-1, 4)), ("float64", (-1, 2, 2, 3)), ("bytes", (-1,))]
)
PICTURES = Signature(
    "tensor",
    GREY,
    LIGHT,
    others=(
        Signature("tensor", COLOUR, LIGHT, "colour"),
        Signature("tensor", FILE, LIGHT, "file"),
        Signature("tensor", (*GREY, Tensor("y", "float32", (-1,))), LIGHT, "two"),
    ),
)


def mean(batch):
    return {"light": batch["x"].reshape(len(batch["x"]), -1).mean(axis=1).astype(np.float32)}


def size(batch):
    return {"light": np.array([len(cell) for cell in batch["x"]], np.float32)}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    found = Gated(tmp_path_factory.mktemp("stream"), ("pictures",))
    functions = {"": mean, "colour": lambda batch: mean({"x": batch["x"][..., 0]}), "file": size, "two": mean}
    schedule = (Preference("pictures@1", 2.0),)
    found.flip(Endpoint("pictures", schedule, 3.0), {"pictures@1": several("pictures@1", functions, PICTURES)})
    yield found
    found.close()


@pytest.fixture
def red(tmp_path):
    """A file of two rows and columns of pure red."""
    path = tmp_path / "red.png"
    Image.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8)).save(path)
    return path


def asked(gate, path, signature, white=1.0):
    row = image_row(SimpleNamespace(), path, client=gate.client, endpoint="pictures", signature=signature, white=white)
    return gate.client.predict("pictures", rows=[row], signature=signature).values


def test_it_is_made_for_the_signature_that_is_asked(gate, red):
    assert asked(gate, red, "") == pytest.approx([76 / 255])  # what red is in grey
    assert asked(gate, red, "serving_default") == asked(gate, red, "")
    assert asked(gate, red, "colour") == [1.0]
    assert asked(gate, red, "colour", white=255.0) == [255.0]
    assert asked(gate, red, "file") == [len(red.read_bytes())]


def test_what_takes_none_says_so(gate, red):
    with pytest.raises(SignatureError, match="there is no signature 'other' - there is colour, file, serving_default"):
        asked(gate, red, "other")
    with pytest.raises(UsageError, match="takes no image - it takes x, y"):
        asked(gate, red, "two")
