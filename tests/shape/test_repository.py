"""What is committed names no machine of ours, and the lock is whole."""

import re
import subprocess
from importlib.metadata import PackageNotFoundError, distributions, requires

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

# Written in pieces, so that this file does not find itself.
OURS = re.compile(
    "|".join([r"(?<![\w.])/" + r"(work|tmp|opt)/", "py" + r"pi\.org", "python" + r"hosted\.org", r"\.npm" + r"js\."])
)

OLDEST_PYTHON = "3.11.2"  # Debian 12's


def test_no_registry_host_or_workplace_path_is_committed(root):
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [root / name for name in tracked.split("\0") if name and (root / name).is_file()]
    said = [
        f"{path.relative_to(root)}:{number} {found.group()}"
        for path in paths
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1)
        if (found := OURS.search(line))
    ]
    assert said == []


def test_the_lock_pins_everything_that_is_installed(root):
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]): line for line in lines if line and not line.startswith("#")}
    assert [line for line in pinned.values() if "==" not in line] == []
    assert sorted(_closure("headrace", {"dev"}) - set(pinned)) == [], "make lock"
    assert "torch" not in pinned


def test_what_is_installed_runs_on_the_oldest_python_we_promise():
    installed = {canonicalize_name(d.name): d.metadata.get("Requires-Python") or "" for d in distributions()}
    needed = _closure("headrace", {"dev"}) & set(installed)
    assert [n for n in sorted(needed) if OLDEST_PYTHON not in SpecifierSet(installed[n])] == []


def test_the_changelog_begins_with_what_is_unreleased(root):
    headings = re.findall(r"^## (.*)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def test_each_decision_has_a_number_of_its_own_and_says_it(root):
    records = sorted((root / "docs" / "decisions").glob("0*.md"))
    numbers = [int(record.name[:4]) for record in records]
    assert len(numbers) == len(set(numbers)) > 30
    said = [int(record.read_text("utf-8").removeprefix("# ").partition(".")[0]) for record in records]
    assert said == numbers


def _closure(name, extras, seen=None):
    """Every installed distribution that ``name`` with ``extras`` needs, itself left out."""
    seen = set() if seen is None else seen
    for text in requires(name) or ():
        needed = Requirement(text)
        wanted = any(needed.marker.evaluate({"extra": e}) for e in {"", *extras}) if needed.marker else True
        mark = (canonicalize_name(needed.name), frozenset(needed.extras))
        if not wanted or mark in seen:
            continue
        seen.add(mark)
        try:
            _closure(needed.name, needed.extras, seen)
        except PackageNotFoundError:
            seen.discard(mark)
    return {found for found, _ in seen} - {"headrace"}
