import numpy as np
import pytest
from PIL import Image

from headrace.engines.pillow.images import PillowImages
from headrace.errors import Refused, SignatureError, UsageError
from headrace.models.images import Frame, frame_of, row_of


@pytest.mark.parametrize(
    ("shape", "due"),
    [
        ([-1, 28, 20], Frame(20, 28, colour=False, shape=(28, 20))),
        ([-1, 28, 20, 1], Frame(20, 28, colour=False, shape=(28, 20, 1))),
        ([-1, 28, 20, 3], Frame(20, 28, colour=True, shape=(28, 20, 3))),
        ([-1, 3, 28, 20], Frame(20, 28, colour=True, shape=(3, 28, 20), channels_first=True)),
        ([-1, 1, 28, 20], Frame(20, 28, colour=False, shape=(1, 28, 20), channels_first=True)),
        ([-1, 784], Frame(28, 28, colour=False, shape=(784,))),
        ([-1, 3072], Frame(32, 32, colour=True, shape=(3072,))),
    ],
)
def test_what_image_a_tensor_takes_follows_from_its_shape(shape, due):
    assert frame_of(shape) == due


@pytest.mark.parametrize("shape", [[-1], [-1, 7], [-1, -1, 3], [-1, 4, 4, 4], [-1, 0], [2, 2, 2, 2, 2]])
def test_a_tensor_that_takes_no_image_is_named(shape):
    with pytest.raises(SignatureError, match="takes no image"):
        frame_of(shape)


@pytest.fixture
def picture(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, 3:] = [255, 0, 0]
    Image.fromarray(pixels).save(tmp_path / "half.png")
    return tmp_path / "half.png"


def test_colours_lie_where_the_shape_says(picture):
    behind = np.array(row_of(PillowImages(), picture, [-1, 4, 6, 3]))
    before = np.array(row_of(PillowImages(), picture, [-1, 3, 4, 6]))
    assert behind.shape == (4, 6, 3)
    assert (behind[:, 3:] == [1, 0, 0]).all()
    assert (behind[:, :3] == 0).all()
    assert (before == behind.transpose(2, 0, 1)).all()


def test_white_is_1_or_255_and_grey_is_grey(tmp_path):
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    assert row_of(PillowImages(), tmp_path / "white.png", [-1, 4]) == [1.0] * 4
    assert row_of(PillowImages(), tmp_path / "white.png", [-1, 4], most=255) == [255] * 4


def test_what_is_no_image_is_said(tmp_path, picture):
    (tmp_path / "text.png").write_text("no image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:45])
    for path, says in (("text.png", "this is no image"), ("cut.png", "image"), ("gone.png", "cannot be read")):
        with pytest.raises(UsageError, match=says):
            row_of(PillowImages(), tmp_path / path, [-1, 4])


def test_an_image_too_large_to_unpack_is_refused(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "vast.png")
    assert (tmp_path / "vast.png").stat().st_size < 100_000
    with pytest.raises(Refused, match="too large"):
        row_of(PillowImages(), tmp_path / "vast.png", [-1, 4])
