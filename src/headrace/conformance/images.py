"""What every Images engine must do. Subclass ``ImagesSuite`` and return the engine."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from headrace.errors import UsageError
from headrace.models.images import Images

_RED, _BLACK = b"\xff\x00\x00", b"\x00\x00\x00"


def png(rows: list[bytes], width: int) -> bytes:
    """A PNG of these rows of red, green and blue bytes, written by hand (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\x00" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class ImagesSuite:
    """Cases for the port ``models.images.Images``."""

    @pytest.fixture
    def images(self) -> Images:
        """The engine under test."""
        raise NotImplementedError

    @pytest.fixture
    def picture(self, tmp_path: Path) -> Path:
        """Six pixels wide and four high, its right half red."""
        path = tmp_path / "half.png"
        path.write_bytes(png([_BLACK * 3 + _RED * 3] * 4, 6))
        return path

    def test_colours_are_red_green_and_blue(self, images: Images, picture: Path) -> None:
        """Rows first, then columns, then colours."""
        pixels = images.pixels(picture, width=6, height=4, colour=True)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (4, 6, 3)
        assert (pixels[:, 3:] == [255, 0, 0]).all()
        assert (pixels[:, :3] == 0).all()

    def test_grey_is_between_black_and_white(self, images: Images, picture: Path) -> None:
        """A colour is as bright as it looks."""
        pixels = images.pixels(picture, width=6, height=4, colour=False)
        assert pixels.shape == (4, 6)
        assert (pixels[:, :3] == 0).all()
        assert (pixels[:, 3:] > 40).all()
        assert (pixels[:, 3:] < 120).all()

    def test_another_size_is_resized(self, images: Images, picture: Path) -> None:
        """The halves stay where they are."""
        pixels = images.pixels(picture, width=12, height=2, colour=True)
        assert pixels.shape == (2, 12, 3)
        assert (pixels[:, 0] == 0).all()
        assert (pixels[:, -1] == [255, 0, 0]).all()

    def test_what_is_no_image_is_refused(self, images: Images, picture: Path, tmp_path: Path) -> None:
        """Text, a file cut short, and none at all."""
        (tmp_path / "text.png").write_text("no image")
        (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:45])
        for name in ("text.png", "cut.png", "gone.png"):
            with pytest.raises(UsageError):
                images.pixels(tmp_path / name, width=6, height=4, colour=True)
