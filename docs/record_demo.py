"""Record a real run as the picture in the README: ``make picture``, or ``record_demo.py PICTURE COMMAND...``.

The command runs in an empty folder; what it prints, nothing added, becomes an SVG of a terminal. A long output is cut
in the middle, and the picture says by how many lines.
"""

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 112
FIRST_LINES, LAST_LINES = 26, 44
FOLDER = Path(__file__).parent


def record(command: list[str]) -> str:
    """Run ``command``; return the picture of its prompt and output.

    Raises:
        CalledProcessError: The command failed; what it printed is in the error.
    """
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}  # so that both outputs come in the order of a terminal
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, env=unbuffered, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        lines = done.stdout.replace(folder, "~").rstrip().splitlines()
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text.assemble(("$ ", "bold green"), (" ".join(command), "bold")))
    more = len(lines) - FIRST_LINES - LAST_LINES
    shown = lines if more <= 0 else lines[:FIRST_LINES]
    for line in shown:
        console.print(Text(line, no_wrap=True, overflow="ellipsis"))
    if more > 0:
        console.print(Text(f"… {more} lines more …", style="dim italic"))
        for line in lines[-LAST_LINES:]:
            console.print(Text(line, no_wrap=True, overflow="ellipsis"))
    return _without_fonts(console.export_svg(title=" ".join(command)))


def _without_fonts(picture: str) -> str:
    """The picture without the fonts that rich would load from elsewhere: the reader's own monospace will do."""
    plain = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return plain.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")


if __name__ == "__main__":
    target, *command = sys.argv[1:] or ["demo.svg", "headrace", "demo"]
    (FOLDER / target).write_text(record(command), "utf-8")
    sys.stdout.write(f"wrote {FOLDER / target}\n")
