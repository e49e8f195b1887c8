"""The named columns that a peer is to take, where it is given any."""

import json
import os
from pathlib import Path
from typing import NamedTuple


class Columns(NamedTuple):
    """Names in the graph's order."""

    numbers: list[str]
    texts: list[str]


def read() -> Columns | None:
    """Of the file that COLUMNS names in the environment (JSON of name to ``number`` or ``text``)."""
    if "COLUMNS" not in os.environ:
        return None
    kinds = json.loads(Path(os.environ["COLUMNS"]).read_text())
    return Columns(*([name for name, of in kinds.items() if of == kind] for kind in ("number", "text")))
