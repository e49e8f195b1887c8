"""An image file as one row of a tensor: its size, channels and order follow from the tensor's shape.

A tensor of bytes takes the file as it is: such a model decodes it itself.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError, UsageError

_COLOUR = 3


class Images(Protocol):
    """Port: decodes image files."""

    def pixels(self, path: Path, *, width: int, height: int, colour: bool) -> NDArray[np.uint8]:
        """Pixels, resized: [height, width, 3] in colour, else [height, width]; 0 is black."""


@dataclass(frozen=True)
class Frame:
    """How one row of a tensor holds an image.

    Attributes:
        width: In pixels.
        height: In pixels.
        colour: Red, green and blue, or grey.
        shape: Of the row.
        channels_first: Whether the colours come before the pixels.
    """

    width: int
    height: int
    colour: bool
    shape: tuple[int, ...]
    channels_first: bool = False


def frame_of(shape: Sequence[int]) -> Frame:
    """What image a tensor of this shape takes, the batch first.

    ``[-1, h, w]``, ``[-1, h, w, 1 or 3]``, ``[-1, 1 or 3, h, w]``, or ``[-1, n]`` for a square image, row by row.

    Raises:
        SignatureError: None.
    """
    row = tuple(shape[1:])
    if len(row) == 1 and row[0] > 0:
        for channels in (1, _COLOUR):
            side = math.isqrt(row[0] // channels)
            if side * side * channels == row[0]:
                return Frame(side, side, channels == _COLOUR, row)
    if len(row) == 2 and min(row) > 0:  # noqa: PLR2004 - height and width
        return Frame(row[1], row[0], colour=False, shape=row)
    if len(row) == 3 and min(row) > 0:  # noqa: PLR2004 - and channels
        if row[2] in {1, _COLOUR}:
            return Frame(row[1], row[0], row[2] == _COLOUR, row)
        if row[0] in {1, _COLOUR}:
            return Frame(row[2], row[1], row[0] == _COLOUR, row, channels_first=True)
    raise SignatureError(
        f"a tensor of shape {list(shape)} takes no image",
        why="[-1, height, width], with 1 or 3 channels before or behind, or [-1, n] of a square one is due",
        fix="send it as JSON: --file",
    )


def row_of(images: Images, path: Path, shape: Sequence[int], *, most: float = 1.0) -> Any:
    """An image file as one row for a tensor, nested lists.

    Args:
        images: Decodes.
        path: The file.
        shape: Of the tensor, the batch first.
        most: What white is; 1 for values from 0 to 1, 255 for whole numbers as they are stored.

    Raises:
        SignatureError: The tensor takes no image.
        UsageError: The file is none.
    """
    frame = frame_of(shape)
    pixels = images.pixels(path, width=frame.width, height=frame.height, colour=frame.colour)
    if frame.channels_first and frame.colour:
        pixels = pixels.transpose(2, 0, 1)
    values = pixels.astype(np.float64) * (most / 255) if most != 255 else pixels  # noqa: PLR2004 - as stored
    return values.reshape(frame.shape).tolist()


def encoded(path: Path, shape: Sequence[int]) -> Any:
    """An image file as one row for a tensor of bytes, as JSON takes it; nothing is decoded here.

    Args:
        path: The file.
        shape: Of the tensor, the batch first.

    Raises:
        SignatureError: A row is more than one file.
        UsageError: The file cannot be read.
    """
    if any(extent not in {-1, 1} for extent in shape[1:]):
        raise SignatureError(f"a tensor of shape {list(shape)} takes no image", why="a row of it is several files")
    try:
        row: Any = {"b64": base64.b64encode(path.read_bytes()).decode()}
    except OSError as error:
        raise UsageError("the image cannot be read", where=str(path), why=error.strerror or "") from error
    for _ in shape[1:]:
        row = [row]
    return row
