"""Every example in the documents runs: Python blocks in order, console blocks with their output compared.

A ``python`` block runs in the document's namespace and folder. In a ``console`` block each line after ``$`` runs in that
folder too; the lines below it must be what it prints, where ``...`` stands for anything. A ``toml`` block that begins with a
file's name (``# headrace.toml``) is appended to that file. Other blocks are text.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document, Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

from headrace.sdk import ambient

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run_console(example: Example) -> None:
    """Run the block's commands in turn; their output, and exit code 0, must be as written."""
    for command, written in _commands(example.parsed):
        if command.startswith("cd "):
            example.namespace["folder"] /= command.removeprefix("cd ")
            os.chdir(example.namespace["folder"])  # a Python block that follows is of this project, too
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            check=False,
            cwd=example.namespace["folder"],
            env=example.namespace["environment"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        assert re.fullmatch(_pattern(written), done.stdout.strip()), f"{command} printed\n{done.stdout}\nnot\n{written}"


def append_settings(example: Example) -> None:
    """Append the block to the file that its first line names."""
    name, _, settings = example.parsed.partition("\n")
    if name.startswith("# "):
        with (example.namespace["folder"] / name.removeprefix("# ")).open("a") as file:
            file.write(f"\n{settings}")


def _commands(text):
    commands = []
    for line in text.strip().splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands:
            commands[-1][1].append(line)
    return [(command, "\n".join(lines).strip()) for command, lines in commands]


def _pattern(written):
    """What is written, with runs of blanks alike and ``...`` for anything; no output written means any."""
    if not written:
        return re.compile(".*", re.DOTALL)
    parts = [r"\s+".join(map(re.escape, part.split())) for part in written.split("...")]
    return re.compile(r"\s*.*?\s*".join(parts), re.DOTALL)


SYBIL = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", run_console), CodeBlockParser("toml", append_settings)]
)


def _documents():
    return [
        (str(path.relative_to(ROOT)), document) for path in PAGES if list((document := SYBIL.parse(path)).examples())
    ]


@pytest.mark.timeout(300)  # the tutorial alone trains, serves and monitors
@pytest.mark.parametrize(("name", "document"), _documents(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_example_runs(name: str, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    # Examples that serve run side by side; and what is said comes in the order in which a terminal shows it.
    environment |= {"HEADRACE_PORT": "0", "PYTHONUNBUFFERED": "1"}
    document.namespace.update(folder=tmp_path, environment=environment)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ambient, "_platform", None)  # that of the project which the document makes
    try:
        for example in document.examples():
            example.evaluate()
    finally:  # an example that fails half-way must not leave its server behind
        if ambient._platform is not None:
            ambient._platform.close()
        for services in tmp_path.glob("*/.headrace/services"):
            stop = [sys.executable, "-m", "headrace", "serving", "run", "--stop"]
            subprocess.run(stop, cwd=services.parents[1], check=False, capture_output=True)
