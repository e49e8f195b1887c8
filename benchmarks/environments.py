"""Environments of other projects' packages below ``benchmarks/.peers``, one each: they pin what we pin too."""

import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"


def python_of(name: str) -> Path:
    """The interpreter of an environment, whether or not it is installed."""
    return FOLDER / name / "bin" / "python"


def installed(names: Sequence[str]) -> dict[str, Path]:
    """Those of ``names`` that are installed, with their interpreters."""
    return {name: python_of(name) for name in names if (FOLDER / name / ".ready").exists()}


def install(packages: Mapping[str, Sequence[str]], pythons: Mapping[str, str] | None = None) -> None:
    """Make each environment that is not there yet; what cannot be installed is said and left out.

    Args:
        packages: What ``pip install`` takes, by environment.
        pythons: Interpreters that environments need, other than the one that runs.
    """
    for name, wanted in packages.items():
        ready = FOLDER / name / ".ready"
        if ready.exists() and ready.read_text() == "\n".join(wanted):
            continue
        print(f"installing {name}: {' '.join(wanted)}", flush=True)
        interpreter = (pythons or {}).get(name)
        if interpreter is None:
            venv.create(FOLDER / name, with_pip=True)
        elif not Path(interpreter).exists():
            print(f"{name} needs {interpreter}, which is not here; it is left out", file=sys.stderr)
            continue
        else:
            subprocess.run([interpreter, "-m", "venv", FOLDER / name], check=True)
        command = [python_of(name), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted]
        if subprocess.run(command, check=False).returncode:
            print(f"{name} could not be installed; it is left out", file=sys.stderr)
            continue
        ready.write_text("\n".join(wanted))
