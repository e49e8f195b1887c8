"""How the answers of several versions to one input read beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.cli.output import aligned
from headrace.settings import is_number

Cells = Mapping[str, Any]
"""One row's answer by class or output; an only number is called ``value``."""
_NEAR, _WHOLE = 0.001, 0.01

Answers = Mapping[str, Sequence[Any]]
"""Version to its values, one a row."""


def lines(answers: Answers) -> Iterator[str]:
    """A table a row: a line for each class or output, a column for each version; then whether they agree."""
    versions = list(answers)
    for row in range(len(answers[versions[0]])):
        cells = {version: _cells(answers[version][row]) for version in versions}
        names = dict.fromkeys(name for of in cells.values() for name in of)
        if row:
            yield ""
        head = "class" if all(map(_are_classes, cells.values())) else "output"
        rows = [{head: name, **{version: cells[version].get(name) for version in versions}} for name in names]
        yield from aligned(rows, [head, *versions])
        yield _verdict(cells, list(names))


def agree(answers: Answers) -> bool:
    """Whether every version says the same of each row: the same class, or values within a thousandth."""
    first, *others = answers.values()
    return all(_same(_cells(a), _cells(b)) for other in others for a, b in zip(first, other, strict=True))


def _verdict(cells: Mapping[str, Cells], names: Sequence[str]) -> str:
    first, *others = cells.values()
    classes, alike = all(map(_are_classes, cells.values())), all(_same(first, other) for other in others)
    if len(names) > 1 and not classes:
        strange = [n for n in names if not all(_near(first.get(n), other.get(n)) for other in others)]
        return "all versions agree" if alike else f"versions differ in {', '.join(strange)}"
    tops = {version: _top(of) for version, of in cells.items()}
    if alike:
        return f"all versions agree: {tops[next(iter(tops))]}"
    return "versions differ: " + ", ".join(f"{version} says {top}" for version, top in tops.items())


def _same(one: Cells, other: Cells) -> bool:
    if _are_classes(one) and _are_classes(other):
        return _top(one) == _top(other)
    return one.keys() == other.keys() and all(_near(one[name], other[name]) for name in one)


def _near(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_near, a, b))
    return bool(a == b or (is_number(a) and is_number(b) and abs(a - b) <= _NEAR * max(1, abs(a), abs(b))))


def _are_classes(cells: Cells) -> bool:
    """Whether these are confidences, one a class: other numbers beside each other mean something each by itself."""
    values = list(cells.values())
    numbers = len(values) > 1 and all(is_number(v) and 0 <= v <= 1 for v in values)
    return numbers and abs(sum(values) - 1) <= _WHOLE


def _top(cells: Cells) -> str:
    if cells.keys() == {"value"}:
        return f"{cells['value']:.5g}" if is_number(cells["value"]) else str(cells["value"])
    return max(cells, key=lambda name: cells[name])


def _cells(value: Any) -> dict[str, Any]:
    """One row's answer."""
    if isinstance(value, Mapping):
        return {str(name): _one(cell) for name, cell in value.items()}
    if isinstance(value, list) and len(value) > 1:
        return {str(number): _one(cell) for number, cell in enumerate(value)}
    return {"value": _one(value)}


def _one(cell: Any) -> Any:
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    return cell
