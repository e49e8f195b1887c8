"""Names that a statement reads from its module: what is local to a function, lambda or comprehension is left out."""

import ast
from collections.abc import Iterator

Path = tuple[str, ...]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LONGEST_ANNOTATION = 200


def read_paths(statement: ast.AST) -> set[Path]:
    """Dotted names that are read: ``np.random.seed`` as one path."""
    return set(_read(statement, frozenset()))


def _read(node: ast.AST, hidden: frozenset[str]) -> Iterator[Path]:
    if isinstance(node, ast.Attribute | ast.Name):
        yield from _read_name(node, hidden)
    elif isinstance(node, _FUNCTIONS):
        yield from _read_all([*node.decorator_list, *_signature(node.args)], hidden)
        yield from _read_all([node.returns] if node.returns else [], hidden)
        yield from _read_all(node.body, hidden | _locals(node))
    elif isinstance(node, ast.Lambda):
        yield from _read_all(_signature(node.args), hidden)
        yield from _read(node.body, hidden | _parameters(node.args))
    elif isinstance(node, _COMPREHENSIONS):
        targets = {n for generator in node.generators for n in _stored(generator.target)}
        yield from _read_all(list(ast.iter_child_nodes(node)), hidden | targets)
    elif isinstance(node, ast.Constant):
        yield from _read_quoted(node.value, hidden)
    else:
        yield from _read_all(list(ast.iter_child_nodes(node)), hidden)


def _read_all(nodes: list[ast.AST] | list[ast.expr] | list[ast.stmt], hidden: frozenset[str]) -> Iterator[Path]:
    for node in nodes:
        yield from _read(node, hidden)


def _read_name(node: ast.Attribute | ast.Name, hidden: frozenset[str]) -> Iterator[Path]:
    path: list[str] = []
    inner: ast.AST = node
    while isinstance(inner, ast.Attribute):
        path.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        yield from _read(inner, hidden)
    elif inner.id not in hidden:
        yield (inner.id, *reversed(path))


def _read_quoted(value: object, hidden: frozenset[str]) -> Iterator[Path]:
    """A string that reads as an expression of names may be a quoted annotation."""
    if isinstance(value, str) and 0 < len(value) < _LONGEST_ANNOTATION and value.replace(".", "").isidentifier():
        path = tuple(value.split("."))
        if path[0] not in hidden and all(path):
            yield path


def _signature(arguments: ast.arguments) -> list[ast.AST]:
    """Defaults and annotations: evaluated outside the function."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [a.annotation for a in every if a is not None and a.annotation is not None]
    return [*annotations, *arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]


def _parameters(arguments: ast.arguments) -> set[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {a.arg for a in every if a is not None}


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    found, declared = _parameters(function.args), set()
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Global | ast.Nonlocal):
            declared |= set(node.names)
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
            continue
        elif isinstance(node, (ast.Lambda, *_COMPREHENSIONS)):
            continue
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        found |= _own_stored(node)
        todo += ast.iter_child_nodes(node)
    return found - declared


def _own_stored(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        return {node.id}
    if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
        return {node.name}
    return set()


def _stored(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
