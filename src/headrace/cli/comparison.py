"""How the answers of several versions to one input read beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.cli.output import aligned

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
        head = "output" if names.keys() == {"value"} else "class"
        rows = [{head: name, **{version: cells[version].get(name) for version in versions}} for name in names]
        yield from aligned(rows, [head, *versions])
        yield _verdict(cells)


def agree(answers: Answers) -> bool:
    """Whether every version says the same of each row: the same class, or values within a thousandth."""
    first, *others = answers.values()
    return all(_same(_cells(a), _cells(b)) for other in others for a, b in zip(first, other, strict=True))


def _verdict(cells: Mapping[str, Mapping[str, Any]]) -> str:
    first, *others = cells.values()
    tops = {version: _top(of) for version, of in cells.items()}
    if all(_same(first, other) for other in others):
        return f"all versions agree: {tops[next(iter(tops))]}"
    return "versions differ: " + ", ".join(f"{version} says {top}" for version, top in tops.items())


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one.keys() == {"value"} == other.keys():
        a, b = one["value"], other["value"]
        return bool(a == b or (_is_number(a) and _is_number(b) and abs(a - b) <= 0.001 * max(1, abs(a), abs(b))))
    return _top(one) == _top(other)


def _top(cells: Mapping[str, Any]) -> str:
    if cells.keys() == {"value"}:
        return f"{cells['value']:.5g}" if _is_number(cells["value"]) else str(cells["value"])
    return max(cells, key=lambda name: cells[name] if _is_number(cells[name]) else float("-inf"))


def _cells(value: Any) -> dict[str, Any]:
    """One row's answer by class or output."""
    if isinstance(value, Mapping):
        return {str(name): _one(cell) for name, cell in value.items()}
    if isinstance(value, list) and len(value) > 1:
        return {str(number): _one(cell) for number, cell in enumerate(value)}
    return {"value": _one(value)}


def _one(cell: Any) -> Any:
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    return cell


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
