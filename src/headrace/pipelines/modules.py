"""Modules as source code: where they are, whose they are, and which statement binds which name. Nothing is imported."""

import ast
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Literal

Owner = Literal["project", "package", "python", "nobody"]
_STANDARD = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - hot
_INSTALLED = ("site-packages", "dist-packages")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Target:
    """What an import binds a name to: a module, or ``attribute`` of it."""

    module: str
    attribute: str = ""


@dataclass
class ModuleSource:
    """A module's top level.

    Attributes:
        name: Dotted.
        bound: Name to the statements that bind or change it, in order.
        imports: Name to what an import binds it to.
        stars: Modules imported with ``*``.
        digest: Of the whole file, hexadecimal.
    """

    name: str
    digest: str
    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Target] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)


def owner(module: str) -> Owner:
    """Who keeps a module: this project (everything that is not installed), an installed package, or Python."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return "python"
    file = file_of(module)
    if file is None:
        top = _spec(module.partition(".")[0])
        return "nobody" if top is None else "package"
    if any(part in file.parts for part in _INSTALLED):
        return "package"
    return "python" if str(file).startswith(_STANDARD) else "project"


@cache
def file_of(module: str) -> Path | None:
    """The file of a module, packages being their ``__init__.py``; None for namespaces and what is not there."""
    if module == "__main__":  # the script that was started has no spec
        script = getattr(sys.modules[module], "__file__", None)
        return Path(script).resolve() if script else None
    spec = _spec(module)
    return Path(spec.origin) if spec is not None and spec.origin and os.sep in spec.origin else None


def exists(module: str) -> bool:
    """Whether there is a module (or namespace) of this name."""
    return _spec(module) is not None


_sources: dict[Path, ModuleSource] = {}
consulted: set[Path] = set()
"""Every source file that was looked at in this process: what a kept plan depends on."""


def source_of(module: str) -> ModuleSource | None:
    """A module's top level; None when it has no Python source. Read again when the file changes."""
    file = file_of(module)
    if file is None or file.suffix != ".py":
        return None
    consulted.add(file)
    text = file.read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    known = _sources.get(file)
    if known is None or known.digest != digest:
        known = _sources[file] = _indexed(ModuleSource(module, digest), ast.parse(text), package_of(module, file))
    return known


def package_of(module: str, file: Path) -> str:
    """The package that relative imports of a module start from."""
    return module if file.name == "__init__.py" else module.rpartition(".")[0]


def import_targets(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Target]]:
    """Name to target, of one import statement; the name is ``*`` for a star."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                alias.asname or alias.name.partition(".")[0],
                Target(alias.name if alias.asname else alias.name.partition(".")[0]),
            )
        return
    module = node.module or ""
    if node.level:
        parts = package.split(".")
        start = ".".join(parts[: len(parts) - node.level + 1])
        module = f"{start}.{module}" if module else start
    for alias in node.names:
        yield ("*", Target(module)) if alias.name == "*" else (alias.asname or alias.name, Target(module, alias.name))


def loaded_sources() -> set[Path]:
    """Source files of the project's modules that this process has imported or looked at."""
    files = {Path(f) for m in list(sys.modules.values()) if (f := getattr(m, "__file__", None))}
    ours = {f for f in files if not str(f).startswith(_STANDARD) and not any(part in f.parts for part in _INSTALLED)}
    return ours | consulted


@cache
def _spec(module: str) -> ModuleSpec | None:
    loaded = sys.modules.get(module)
    spec: ModuleSpec | None = getattr(loaded, "__spec__", None)
    if spec is not None:
        return spec
    parent, _, _ = module.rpartition(".")
    try:
        if not parent:
            return importlib.util.find_spec(module)
        above = _spec(parent)
        places = above.submodule_search_locations if above is not None else None
        return PathFinder.find_spec(module, places) if places else None
    except (ImportError, ValueError):
        return None


def _indexed(source: ModuleSource, tree: ast.Module, package: str) -> ModuleSource:
    loose: list[ast.stmt] = []
    for statement in tree.body:
        _index(source, statement, package, loose)
    # A statement that binds nothing (``REGISTRY.append(x)``, ``np.random.seed(0)``) belongs to every name it mentions.
    for statement in loose:
        for name in {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}:
            source.bound.setdefault(name, []).append(statement)
    return source


def _index(source: ModuleSource, statement: ast.stmt, package: str, loose: list[ast.stmt]) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        _index_import(source, statement, package)
    elif isinstance(statement, _DEFINITIONS):
        source.bound.setdefault(statement.name, []).append(statement)
    elif not _is_script(statement):
        _index_block(source, statement, package, loose)


def _index_import(source: ModuleSource, statement: ast.Import | ast.ImportFrom, package: str) -> None:
    for name, target in import_targets(statement, package):
        if name == "*":
            source.stars.append(target.module)
        else:
            source.imports.setdefault(name, target)


def _index_block(source: ModuleSource, statement: ast.stmt, package: str, loose: list[ast.stmt]) -> None:
    """An assignment, a bare call, or a block such as ``if TYPE_CHECKING:``, whose imports are imports all the same."""
    inside = list(_inner(statement))
    imports = [s for s in inside if isinstance(s, ast.Import | ast.ImportFrom)]
    for inner in imports:
        _index_import(source, inner, package)
    if inside and len(imports) == len(inside):
        return
    names = set(_bound_names(statement))
    for name in names:
        source.bound.setdefault(name, []).append(statement)
    if not names and not _is_text(statement):
        loose.append(statement)


def _inner(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Statements of a top-level block (``if TYPE_CHECKING:``, ``try:``), the block statements themselves left out."""
    blocks: Mapping[str, Sequence[ast.AST]] = {
        name: value for name, value in ast.iter_fields(statement) if isinstance(value, list)
    }
    for name in ("body", "orelse", "finalbody", "handlers"):
        for part in blocks.get(name, ()):
            if isinstance(part, ast.ExceptHandler | ast.If | ast.Try | ast.With):
                yield from _inner(part)  # type: ignore[arg-type]  # a handler has a body like a statement
            elif isinstance(part, ast.stmt) and not isinstance(part, ast.Pass):
                yield part


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, _DEFINITIONS):
            yield node.name


def _is_script(statement: ast.stmt) -> bool:
    """``if __name__ == "__main__":``."""
    return isinstance(statement, ast.If) and "__name__" in {
        node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)
    }


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
