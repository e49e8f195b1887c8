"""Sizes that an exported program writes as expressions: PyTorch evaluates them as Python, so they are read first."""

import ast
import re

from headrace.errors import Refused

_SYMBOL = re.compile(r"[a-z]+\d+")
_FUNCTIONS = frozenset(
    {
        *("Symbol", "Integer", "Float", "Rational", "Identity", "Add", "Mul", "Pow", "Max", "Min", "Where"),
        *("Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "IntTrueDiv", "FloatTrueDiv", "ModularIndexing"),
        *("PowByNatural", "FloatPow", "FloorToInt", "CeilToInt", "TruncToInt", "TruncToFloat", "RoundToInt", "ToFloat"),
        *("LShift", "RShift", "Equality", "Unequality", "GreaterThan", "LessThan", "StrictGreaterThan"),
        *("StrictLessThan", "Eq", "Ne", "Ge", "Le", "Gt", "Lt", "And", "Or", "Not"),
    }
)
_NODES = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.UAdd),
)
_LONGEST = 10_000


def check_expression(text: str) -> None:
    """Raise ``Refused`` unless ``text`` is arithmetic on numbers, symbols (``s77``) and functions of sizes."""
    try:
        tree = ast.parse(text[: _LONGEST + 1], mode="eval") if len(text) <= _LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None or not all(_allowed(node) for node in ast.walk(tree)):
        raise Refused("a size in the program is no arithmetic", why=text[:100])


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float)) or (
            isinstance(node.value, str) and _SYMBOL.fullmatch(node.value) is not None
        )
    return isinstance(node, _NODES)
