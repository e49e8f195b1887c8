"""What was measured, beside its bar: printed, and kept as JSON below ``benchmarks/out``."""

import csv
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OUT = Path(__file__).parent / "out"
BARS = Path(__file__).parent / "bars.tsv"
_HOLDS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One number with the id that its bar goes by; ``beside`` holds others' numbers to compare with."""

    id: str
    value: float
    unit: str
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bar:
    """What a figure must be."""

    op: str
    value: float

    def holds(self, value: float) -> bool:
        return bool(_HOLDS[self.op](value, self.value))


def bars() -> dict[str, Bar]:
    """Every bar by the id of its figure."""
    with BARS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["id"]: Bar(row["op"], float(row["bar"])) for row in rows}


def told(figures: Sequence[Figure], name: str, **more: object) -> None:
    """Print the figures and write them to ``out/<name>.json``, with whatever else is to be kept."""
    due = bars()
    rows = []
    for figure in figures:
        bar, value = due.get(figure.id), round(figure.value, 4)
        said = "" if bar is None else f"{bar.op} {bar.value:<5g} {'holds' if bar.holds(figure.value) else 'MISSED'}"
        others = "  ".join(f"{name} {number}" for name, number in figure.beside.items())
        print(f"{figure.id:<34} {value:>10} {figure.unit:<6} {said:<14} {others}".rstrip())
        rows.append({"id": figure.id, "value": value, "unit": figure.unit, "beside": dict(figure.beside)})
    OUT.mkdir(parents=True, exist_ok=True)
    kept: object = {"figures": rows, **more} if more else rows
    (OUT / f"{name}.json").write_text(json.dumps(kept, indent=2) + "\n")
