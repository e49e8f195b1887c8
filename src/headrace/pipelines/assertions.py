"""What a failed ``assert`` compared: the values behind its names, as pytest shows them."""

import ast
import linecache
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_PURE = {"len", "abs", "min", "max", "sum", "round", "float", "int", "isinstance", "sorted", "any", "all", "set"}
_WIDTH = 200


def explained(error: AssertionError) -> str:
    """The assertion with its values: ``assert new.auc > 0.7``, then ``0.6512 > 0.7``, then each name's value."""
    frame, line = _innermost(error.__traceback__)
    message = str(error)
    statement = _statement(frame, line) if frame is not None else None
    if frame is None or statement is None:
        return message or "the assertion does not hold"
    source = f"assert {ast.unparse(statement.test)}"
    with_values = list(_described(statement.test, frame))
    return "\n  ".join([source, *([message] if message else []), *with_values])


def judged(error: AssertionError) -> dict[str, Any]:
    """The values behind the assertion's names as JSON values, for the record; what is not one as people see it."""
    frame, line = _innermost(error.__traceback__)
    statement = _statement(frame, line) if frame is not None else None
    if frame is None or statement is None:
        return {}
    found = dict(_values(statement.test, frame))
    return {text: v if isinstance(v, bool | int | float | str | None) else _repr(v) for text, v in found.items()}


def _innermost(traceback: TracebackType | None) -> tuple[FrameType | None, int]:
    if traceback is None:
        return None, 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame, traceback.tb_lineno


def _statement(frame: FrameType, line: int) -> ast.Assert | None:
    text = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return found[-1] if found else None


def _described(test: ast.expr, frame: FrameType) -> Iterator[str]:
    """The comparison in values, then every name and attribute in it."""
    for part in _failing(test, frame):
        shown = _shown(part, frame)
        if shown != ast.unparse(part):
            yield shown
    for text, value in _values(test, frame):
        yield f"{text} = {_repr(value)}"


def _values(test: ast.expr, frame: FrameType) -> Iterator[tuple[str, Any]]:
    for text in dict.fromkeys(ast.unparse(node) for node in _leaves(test)):
        value = _value(ast.parse(text, mode="eval").body, frame)
        if value is not _UNKNOWN:
            yield text, value


def _failing(test: ast.expr, frame: FrameType) -> Iterator[ast.expr]:
    """Of ``a and b`` the parts that are false, of ``a or b`` all, of anything else itself."""
    if not isinstance(test, ast.BoolOp):
        yield test
        return
    for part in test.values:
        if isinstance(test.op, ast.Or) or not _value(part, frame):
            yield from _failing(part, frame)


def _shown(expression: ast.expr, frame: FrameType) -> str:
    """The expression with the operands of its comparison replaced by their values."""
    if not isinstance(expression, ast.Compare):
        return ast.unparse(expression)
    parts = [_operand(expression.left, frame)]
    for operator, operand in zip(expression.ops, expression.comparators, strict=True):
        text = ast.unparse(ast.Compare(ast.Name("a"), [operator], [ast.Name("b")]))[2:-2]
        parts += [text, _operand(operand, frame)]
    return " ".join(parts)


def _operand(node: ast.expr, frame: FrameType) -> str:
    value = _value(node, frame)
    return ast.unparse(node) if value is _UNKNOWN else _repr(value)


def _leaves(node: ast.AST) -> Iterator[ast.expr]:
    """Names, attributes, items and pure calls whose values explain; not their parts, and no functions."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in _PURE:
            yield node
        else:
            for argument in node.args:
                yield from _leaves(argument)
    elif isinstance(node, ast.Attribute | ast.Subscript | ast.Name):
        yield node
    else:
        for child in ast.iter_child_nodes(node):
            yield from _leaves(child)


def _value(node: ast.expr, frame: FrameType) -> Any:
    """The value again, from the failed frame; calls that may have effects are not repeated."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in _PURE):
            return _UNKNOWN
        if isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom | ast.Lambda):
            return _UNKNOWN
    try:
        code = compile(ast.Expression(node), "<assert>", "eval")
        return eval(code, frame.f_globals, frame.f_locals)  # noqa: S307 - the user's own expression, just evaluated
    except Exception:  # noqa: BLE001 - whatever it raises, the gate's own failure is the news
        return _UNKNOWN


class _Unknown:
    def __repr__(self) -> str:
        return "(not repeated)"

    def __bool__(self) -> bool:
        return False


_UNKNOWN = _Unknown()


def _repr(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
