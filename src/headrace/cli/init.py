"""``headrace init``: a project that runs."""

import csv
import math
import random
import shutil
from datetime import date, timedelta
from pathlib import Path

import click

import headrace
from headrace.assembly import open_platform, project_home
from headrace.cli.output import Output, options
from headrace.datasets.put import put
from headrace.datasets.version import DatasetVersion
from headrace.errors import UsageError
from headrace.settings import PIPELINE_FILE, PROJECT_FILE, load_settings

TEMPLATES = ("tabular",)
DATA = "data/orders.csv"
ROWS = 4000
LEFT_BEHIND = {"__pycache__", ".headrace", ".pytest_cache", "data"}
"""What running a template in place leaves in it."""


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--template", default="tabular", type=click.Choice(TEMPLATES), help="What kind of project.")
@options
def command(out: Output, folder: Path, template: str) -> None:
    """Start a project in FOLDER: a pipeline, its settings, its tests, and small data made up for it.

    No file that is already there is changed. The data is put as the dataset ``orders``, so that the pipeline runs.
    """
    standing = [name for name in (PIPELINE_FILE, PROJECT_FILE) if (folder / name).exists()]
    if standing:
        raise UsageError(
            "a project is already here",
            where=str(folder),
            why=f"it has {standing[0]}",
            fix="headrace init ANOTHER-FOLDER",
        )
    made = [*_copy(_examples() / template, folder), _data(folder)]
    out.say("\n".join(f"wrote {folder / name}" for name in made))
    version = _put(folder)
    out.result(
        {"folder": str(folder), "files": [str(name) for name in made], "dataset": str(version)},
        [f"put {DATA} as {version}: {version.rows} rows"],
    )
    out.say(
        f"\nNext:\n{'' if folder == Path() else f'  cd {folder}' + chr(10)}  headrace run returns\n  headrace doctor"
    )


def _copy(template: Path, folder: Path) -> list[Path]:
    """Copy the template's files, but for those that are already there; return what was written."""
    names = sorted(p.relative_to(template) for p in template.rglob("*") if p.is_file())
    targets = {name: _named(name) for name in names if not LEFT_BEHIND & set(name.parts)}
    missing = {name: target for name, target in targets.items() if not (folder / target).exists()}
    for name, target in missing.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template / name, folder / target)
    return list(missing.values())


def _data(folder: Path) -> Path:
    path = folder / DATA
    path.parent.mkdir(exist_ok=True)
    write_orders(path)
    return Path(DATA)


def _put(folder: Path) -> DatasetVersion:
    platform = open_platform(load_settings(folder.resolve()))
    project_home(platform.settings)
    try:
        return put(platform.stores(), "orders", folder / DATA, licence="CC0-1.0")
    finally:
        platform.close()


def write_orders(path: Path, rows: int = ROWS) -> None:
    """Write made-up orders, the same ones each time: dear single items and slow deliveries come back more often."""
    chance = random.Random(7)  # noqa: S311 - made-up data needs no secrecy
    names = ["order", "placed_at", "amount", "items", "days_to_deliver", "returned_before", "returned"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for number in range(rows):
            items, days, before = chance.randint(1, 6), chance.randint(1, 12), chance.choice((0, 0, 0, 1, 2))
            amount = round(items * math.exp(chance.gauss(3.2, 0.6)), 2)
            odds = -4.0 + 0.03 * amount / items + 0.22 * days + 0.9 * before
            returned = int(chance.random() < 1 / (1 + math.exp(-odds)))
            placed = date(2025, 1, 1) + timedelta(days=number * 365 // rows)
            writer.writerow([number, placed.isoformat(), amount, items, days, before, returned])


def _examples() -> Path:
    """Where the templates are: inside the installed package, or at the top of a checkout."""
    package = Path(headrace.__file__).parent
    inside = package / "examples"
    return inside if inside.is_dir() else package.parents[1] / "examples"


def _named(path: Path) -> Path:
    """Templates keep their ignore file under a name that git does not act on."""
    return path.with_name(".gitignore") if path.name == "gitignore" else path
