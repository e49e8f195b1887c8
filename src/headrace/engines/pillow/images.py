"""Images as pixels, decoded by Pillow; a file that is none, or too large once unpacked, is refused."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from headrace.errors import Refused, UsageError
from headrace.settings import Settings

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MOST_PIXELS = 50_000_000


def open_images(settings: Settings, name: str) -> "PillowImages":  # noqa: ARG001 - every factory takes both
    """Factory ``images.pillow``."""
    return PillowImages()


class PillowImages:
    """Decodes images; see ``models.images.Images``."""

    def pixels(self, path: Path, *, width: int, height: int, colour: bool) -> NDArray[np.uint8]:
        """Pixels of the first frame, resized: [height, width, 3] in colour, else [height, width]; 0 is black.

        Raises:
            UsageError: The file cannot be read, or is no image of a known format.
            Refused: It has more than ``MOST_PIXELS`` pixels.
        """
        try:
            with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is ours
                if image.width * image.height > MOST_PIXELS:
                    why = f"{image.width} x {image.height} pixels, at most {MOST_PIXELS} are read"
                    raise Refused("the image is too large", where=str(path), why=why)
                fitted = image.convert("RGB" if colour else "L").resize((width, height), Image.Resampling.BILINEAR)
                return np.asarray(fitted, dtype=np.uint8)
        except Image.DecompressionBombError as error:
            raise Refused("the image is too large", where=str(path), why=str(error)) from error
        except UnidentifiedImageError as error:
            raise UsageError("this is no image", where=str(path), fix=f"one of {', '.join(FORMATS)}") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise UsageError("the image cannot be read", where=str(path), why=str(error)[:200]) from error
