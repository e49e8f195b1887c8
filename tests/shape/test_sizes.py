"""Files, classes and functions stay small enough to read in one sitting (the hard numbers; the aims are lower)."""

import ast

FILE_LINES = 500
FUNCTION_LINES = 50
CLASS_LINES = 300
PUBLIC_METHODS = 15
PARAMETERS = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_files_are_short(modules):
    lengths = {module.where: module.text.count("\n") for module in modules}
    assert {where: lines for where, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_are_short(modules):
    too_long = {
        f"{module.where}:{node.lineno} {node.name}": lines
        for module in modules
        for node in _nodes(module, Function)
        if (lines := _length(node)) > FUNCTION_LINES
    }
    assert too_long == {}


def test_functions_take_few_parameters(modules):
    too_many = {
        f"{module.where}:{node.lineno} {node.name}": count
        for module in modules
        for node in _nodes(module, Function)
        if (count := len(_parameters(node))) > PARAMETERS and not _is_command(node)
    }
    assert too_many == {}


def test_classes_are_small(modules):
    too_big = {
        f"{module.where}:{node.lineno} {node.name}"
        for module in modules
        for node in _nodes(module, ast.ClassDef)
        if _length(node) > CLASS_LINES or _public_methods(node) > PUBLIC_METHODS
    }
    assert too_big == set()


def _nodes(module, kinds):
    return (node for node in ast.walk(module.tree) if isinstance(node, kinds))


def _length(node):
    docstring = ast.get_docstring(node, clean=False)
    return node.end_lineno - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


def _parameters(node):
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in {"self", "cls"}]


def _is_command(node):
    """A click command has one parameter for each of its options; the command line is checked by its users."""
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def _public_methods(node):
    """Public methods but for the cases of a conformance suite."""
    return sum(isinstance(child, Function) and not child.name.startswith(("_", "test_")) for child in node.body)
