"""Whose line an error is from: the user's own, not headrace's and not a library's."""

import os
import sys
import traceback
from pathlib import Path

_HERE = str(Path(__file__).parents[1])


def user_line(error: BaseException) -> str:
    """``pipeline.py:12``: the deepest line outside headrace and installed packages; empty when there is none.

    Of a ``SyntaxError`` it is the line that cannot be read.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_shown(error.filename)}:{error.lineno}"
    own = [
        f"{_shown(frame.filename)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_HERE, sys.prefix, sys.base_prefix, "<"))
    ]
    return own[-1] if own else ""


def _shown(path: str) -> str:
    """Relative to the working directory below it, else the file's name."""
    below = os.path.relpath(path)
    return Path(path).name if below.startswith("..") else below
