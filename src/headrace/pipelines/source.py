"""What a function's behaviour depends on in source code: the names it reaches, through modules of the project.

Docstrings, comments and layout do not count. What cannot be resolved counts as its whole module. Of headrace itself,
and of other installed packages, versions count (while headrace is being developed: its files).
"""

import ast
import copy
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from headrace.pipelines import distributions
from headrace.pipelines.modules import (
    ModuleSource,
    Target,
    consulted,
    exists,
    file_of,
    import_targets,
    owner,
    package_of,
    source_of,
)
from headrace.pipelines.names import read_paths

_OURS = "headrace"
_DECORATORS = {"step", "gate", "pipeline"}
_DIGITS = 16
_WHOLE = "*"


@dataclass(frozen=True)
class Reached:
    """What a function reaches.

    Attributes:
        names: ``module:name`` to digest of its code; ``module:*`` where only the whole file is known to be reached.
        packages: Distribution to version.
    """

    names: Mapping[str, str]
    packages: Mapping[str, str]


def reached(function: Callable[..., Any]) -> Reached:
    """Everything that ``function`` reaches."""
    walk = _Walk()
    name = function.__qualname__.partition(".")[0]
    local = "<locals>" in function.__qualname__
    walk.visit(Target(function.__module__), () if local else (name,))
    walk.finish()
    return Reached(dict(sorted(walk.names.items())), distributions.versions(sorted(walk.packages)))


@dataclass
class _Walk:
    """Follows names from statement to statement, each once."""

    names: dict[str, str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    _todo: list[tuple[str, str]] = field(default_factory=list)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def visit(self, target: Target, path: tuple[str, ...]) -> None:
        """Follow ``target.path[0].path[1]…`` as far as it leads through modules, and note what it names there."""
        if target.attribute:
            path = (target.attribute, *path)
        module = target.module
        whose = owner(module)
        if whose == "package":
            self.packages.add(module.partition(".")[0])
        if module.partition(".")[0] == _OURS:
            self._visit_ours(module, path)
        elif whose == "project":
            self._visit_project(module, path)

    def finish(self) -> None:
        """Work until nothing new is reached."""
        while self._todo:
            module, name = self._todo.pop()
            source = source_of(module)
            if source is None or name == _WHOLE:
                self._whole(module, source)
            else:
                self._statements(source, name)

    def _visit_project(self, module: str, path: tuple[str, ...]) -> None:
        source = source_of(module)
        name = path[0] if path else _WHOLE
        if source is not None and name in source.imports and name not in source.bound:
            self.visit(source.imports[name], path[1:])
        elif source is not None and name in source.bound:
            self._add(module, name)
        elif path and exists(f"{module}.{name}"):
            self.visit(Target(f"{module}.{name}"), path[1:])
        elif source is None or not self._in_stars(source, path):
            self._add(module, _WHOLE)

    def _visit_ours(self, module: str, path: tuple[str, ...]) -> None:
        source = source_of(module)
        if module == _OURS and source is not None and path and path[0] in source.imports:
            module = source.imports[path[0]].module
        if owner(module) == "project":
            self.names[f"{module}:{_WHOLE}"] = own_digest(module)
        self.packages.add(_OURS)

    def _in_stars(self, source: ModuleSource, path: tuple[str, ...]) -> bool:
        """Whether ``from x import *`` brings the name; a star of a package may bring any."""
        for star in source.stars:
            other = source_of(star) if owner(star) == "project" else None
            if other is None and owner(star) == "package":
                self.packages.add(star.partition(".")[0])
            elif other is not None and path and (path[0] in other.bound or path[0] in other.imports):
                self.visit(Target(star), path)
                return True
        return False

    def _add(self, module: str, name: str) -> None:
        if (module, name) not in self._seen:
            self._seen.add((module, name))
            self._todo.append((module, name))

    def _whole(self, module: str, source: ModuleSource | None) -> None:
        file = file_of(module)
        if source is None:
            content = b""
            if file is not None and file.is_file():
                consulted.add(file)
                content = file.read_bytes()
            self.names[f"{module}:{_WHOLE}"] = hashlib.sha256(content).hexdigest()[:_DIGITS]
            return
        statements = [s for group in source.bound.values() for s in group]
        self.names[f"{module}:{_WHOLE}"] = source.digest[:_DIGITS]
        for target in source.imports.values():
            self.visit(target, ())
        for statement in statements:
            self._follow(source, statement)

    def _statements(self, source: ModuleSource, name: str) -> None:
        statements = [_bare(s, source) for s in source.bound[name]]
        text = "\n".join(ast.dump(s) for s in statements)
        self.names[f"{source.name}:{name}"] = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        if name in source.imports:  # bound both ways: ``try: import x; except ImportError: x = None``
            self.visit(source.imports[name], ())
        for statement in statements:
            self._follow(source, statement)

    def _follow(self, source: ModuleSource, statement: ast.stmt) -> None:
        file = file_of(source.name)
        package = package_of(source.name, file) if file is not None else ""
        local: dict[str, Target] = {}
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                local.update(import_targets(node, package))
        for path in read_paths(statement):
            if path[0] in local:
                self.visit(local[path[0]], path[1:])
            else:
                self._visit_name(source, path)

    def _visit_name(self, source: ModuleSource, path: tuple[str, ...]) -> None:
        """A name used in a module: one that nothing there binds is Python's own, unless a star may bring it."""
        if path[0] in source.imports or path[0] in source.bound:
            self._visit_project(source.name, path)
        elif source.stars:
            self._in_stars(source, path)


@cache
def own_digest(module: str) -> str:
    """Digest of a headrace module's file and of all headrace files that it imports, transitively."""
    total = hashlib.sha256()
    for name in sorted(_own_modules(module)):
        file = file_of(name)
        if file is not None:
            consulted.add(file)
            total.update(file.read_bytes())
    return total.hexdigest()[:_DIGITS]


_IMPORT = re.compile(
    r"^[ \t]*(?:from|import)[ \t]+(headrace\.[\w.]*)(?:[ \t]+import[ \t]+\(?([\w, \n\t]*))?", re.MULTILINE
)


def _own_modules(module: str) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        file = file_of(name)
        if name in found or file is None:
            continue
        found.add(name)
        for match in _IMPORT.finditer(file.read_text("utf-8")):
            todo.append(match[1])
            todo += [f"{match[1]}.{part.split()[0]}" for part in (match[2] or "").split(",") if part.strip()]
    return found


def _bare(statement: ast.stmt, source: ModuleSource) -> ast.stmt:
    """The statement without docstrings and without headrace's own decorators."""
    bare = copy.deepcopy(statement)
    for node in ast.walk(bare):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
            node.decorator_list = [d for d in node.decorator_list if not _is_ours(d, source)]
    return bare


def _is_ours(decorator: ast.expr, source: ModuleSource) -> bool:
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    path = next(iter(read_paths(node)), ("",))
    target = source.imports.get(path[0])
    if target is None or target.module.partition(".")[0] != _OURS:
        return False
    return path[-1] in _DECORATORS or target.attribute in _DECORATORS
