"""Record a real run as the picture in the README: ``make picture``, or ``record_demo.py PICTURE COMMAND...``.

The command runs in an empty folder; what it prints, nothing added, becomes an SVG of a terminal.
"""

import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118
FOLDER = Path(__file__).parent


def record(command: list[str]) -> str:
    """Run ``command``; return the picture of its prompt and output.

    Raises:
        CalledProcessError: The command failed; what it printed is in the error.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        said = done.stdout.replace(folder, ".")
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text.assemble(("$ ", "bold green"), (" ".join(command), "bold")))
    console.print(Text.from_ansi(said.rstrip()))
    return _without_fonts(console.export_svg(title=" ".join(command)))


def _without_fonts(picture: str) -> str:
    """The picture without the fonts that rich would load from elsewhere: the reader's own monospace will do."""
    return re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)


if __name__ == "__main__":
    target, *command = sys.argv[1:] or ["demo.svg", "headrace", "demo"]
    (FOLDER / target).write_text(record(command), "utf-8")
    sys.stdout.write(f"wrote {FOLDER / target}\n")
