"""Rules over live numbers: ``error_rate > 1%``, ``p99_ms > 1.2x champion``. A fixed grammar, never evaluated as code.

A rule is ``NAME OPERATOR LIMIT``. The limit is a number, a share (``1%``), or so many times what the champion has
(``1.2x champion``). Rules are compared with numbers that were measured side by side.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headrace.errors import UsageError

_RULE = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(%|x\s+champion)?\s*")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LONGEST = 200
_SHARES = frozenset({"error_rate", "default_rate", "disagreement"})
_EXAMPLE = "error_rate > 1%, or p99_ms > 1.2x champion"


@dataclass(frozen=True)
class Rule:
    """One comparison.

    Attributes:
        text: As written.
        name: Of the number.
        operator: ``<``, ``<=``, ``>`` or ``>=``.
        limit: What it is compared with; a factor where ``of_champion``.
        of_champion: Whether the limit is a multiple of the champion's number.
    """

    text: str
    name: str
    operator: str
    limit: float
    of_champion: bool

    @property
    def upward(self) -> bool:
        """Whether it holds of numbers above its limit."""
        return self.operator in {">", ">="}

    def known(self, own: Mapping[str, float], champion: Mapping[str, float]) -> bool:
        """Whether every number that it compares was measured."""
        return self.name in own and (not self.of_champion or self.name in champion)

    def holds(self, own: Mapping[str, float], champion: Mapping[str, float]) -> bool:
        """Whether the comparison is true; NaN and a number that is missing on either side never make it so."""
        if not self.known(own, champion):
            return False
        limit = self.limit * champion[self.name] if self.of_champion else self.limit
        return _OPERATORS[self.operator](own[self.name], limit)

    def said(self, own: Mapping[str, float], champion: Mapping[str, float]) -> str:
        """The rule with its numbers, for people: ``p99_ms > 1.2x champion: 14.2, champion 9.8``."""
        numbers = self._written(own[self.name]) if self.name in own else "not measured"
        if self.of_champion:
            numbers += f", champion {champion[self.name]:.4g}" if self.name in champion else ", no champion"
        return f"{self.text}: {numbers}"

    def _written(self, number: float) -> str:
        """In the unit of its limit."""
        return f"{number * 100:.4g}%" if self.text.endswith("%") else f"{number:.4g}"


def rule(text: str, known: Sequence[str]) -> Rule:
    """The rule that ``text`` says.

    Args:
        text: ``NAME OPERATOR LIMIT``.
        known: Names that are measured where the rule is to be used.

    Raises:
        UsageError: It is no rule, or its name is not known.
    """
    found = _RULE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise UsageError(f"{text[:_LONGEST]!r} is no rule", why="NAME OPERATOR LIMIT is due", fix=_EXAMPLE)
    name, sign, number, unit = found.groups()
    if name not in known:
        raise UsageError(f"nothing measures {name!r}", where=text, fix=f"one of {', '.join(known)}")
    limit = float(number) / 100 if unit == "%" else float(number)
    return Rule(" ".join(text.split()), name, sign, limit, of_champion=bool(unit) and unit != "%")


def rules(texts: Sequence[str], known: Sequence[str]) -> tuple[Rule, ...]:
    """Several rules, each as ``rule`` reads it."""
    return tuple(rule(text, known) for text in texts)


def new_rules(texts: Sequence[str], known: Sequence[str]) -> tuple[Rule, ...]:
    """Rules as somebody writes them now, who is told what they cannot have meant.

    Raises:
        UsageError: As of ``rule``, or a limit is none for such a number: ``error_rate > 1``, for 1 %, would never hold.
    """
    found = rules(texts, known)
    for one in found:
        if not one.of_champion:
            _check_unit(one)
    return found


def _check_unit(rule: Rule) -> None:
    percent = rule.text.endswith("%")
    meant = rule.limit < 1 or (rule.limit == 1 and percent and rule.operator in {"<", ">="})
    if rule.name in _SHARES and not meant:
        why, fix = f"{rule.name} is a share, and 1 is all of it", f"{rule.name} {rule.operator} 1%"
        raise UsageError(f"{rule.text!r} is never or always true", why=why, fix=fix)
    if rule.name.endswith("_ms") and percent:
        why, fix = f"{rule.name} is in milliseconds", f"{rule.name} {rule.operator} 20"
        raise UsageError(f"{rule.text!r} compares a time with a share", why=why, fix=fix)
