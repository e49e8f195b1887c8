"""The rooms, their ports, and who may hold the Platform."""

import ast
import re

PORTS = 14
PORT_METHODS = 4
HOLDS_PLATFORM = {"journey", "sdk", "assembly", "cli", "console", "gateway"}
NOT_ROOMS = {"__main__", ""}


def test_ports_are_few_and_small(modules):
    """A port's docstring begins with "Port:"; other protocols only let modules of one room know each other."""
    protocols = [
        node
        for module in modules
        if module.room != "engines"
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
    ]
    assert {node.name: count for node in protocols if (count := _methods(node)) > PORT_METHODS} == {}
    ports = sorted(node.name for node in protocols if (ast.get_docstring(node) or "").startswith("Port:"))
    assert {"Codec", "Executor", "Files", "Ledger", "Runtime", "Services", "Stream", "Tables"} <= set(ports)
    assert len(ports) <= PORTS, ports


def _methods(node):
    """Methods, properties not counted."""
    functions = (child for child in node.body if isinstance(child, ast.FunctionDef))
    return sum("property" not in map(ast.unparse, function.decorator_list) for function in functions)


def test_only_journeys_sdk_and_edges_take_the_platform(modules):
    takers = [
        f"{module.where}:{node.lineno} {node.name}"
        for module in modules
        if module.room not in HOLDS_PLATFORM
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _takes_platform(node)
    ]
    assert takers == []


def test_gateway_and_console_are_started_as_services_only(modules):
    importers = [
        f"{module.where}:{node.lineno}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom | ast.Import) and _imports_a_server(node, module.room)
    ]
    assert importers == []


def test_the_architecture_page_names_every_room_and_no_other(modules, root):
    page = (root / "docs/explanation/architecture.md").read_text("utf-8")
    named = set(re.findall(r"^\| `([a-z_]+)(?:/|\.py)` ", page, re.MULTILINE))
    assert named == {module.room for module in modules} - NOT_ROOMS


def _takes_platform(node):
    arguments = node.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return any(a.annotation is not None and re.search(r"\bPlatform\b", ast.unparse(a.annotation)) for a in every)


def _imports_a_server(node, room):
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    servers = {"headrace.gateway", "headrace.console"} - {f"headrace.{room}"}
    return any(name == server or name.startswith(f"{server}.") for name in names for server in servers)
