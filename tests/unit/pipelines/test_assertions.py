"""A failing gate shows what it compared."""

from types import SimpleNamespace

import pytest

from headrace.pipelines.assertions import explained

new = SimpleNamespace(auc=0.6512, log_loss=0.5, table={"a": 1})
champion = SimpleNamespace(auc=0.7013)
calls = []


def effect():
    calls.append(1)
    return 1


def failing(statement: str, **local):
    source = f"def gate():\n    {statement}\n"
    import linecache

    name = f"<{statement}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope = {**globals(), **local}
    exec(compile(source, name, "exec"), scope)
    with pytest.raises(AssertionError) as raised:
        scope["gate"]()
    return explained(raised.value).split("\n  ")


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("assert new.auc > 0.7", ["assert new.auc > 0.7", "0.6512 > 0.7", "new.auc = 0.6512"]),
        (
            "assert new.auc >= champion.auc - 0.005",
            ["assert new.auc >= champion.auc - 0.005", "0.6512 >= 0.6963", "new.auc = 0.6512", "champion.auc = 0.7013"],
        ),
        (
            "assert new.auc > 0.6 and new.log_loss < 0.4",
            ["assert new.auc > 0.6 and new.log_loss < 0.4", "0.5 < 0.4", "new.auc = 0.6512", "new.log_loss = 0.5"],
        ),
        (
            "assert champion is None or new.auc > 0.9",
            [
                "assert champion is None or new.auc > 0.9",
                "namespace(auc=0.7013) is None",
                "0.6512 > 0.9",
                "champion = namespace(auc=0.7013)",
                "new.auc = 0.6512",
            ],
        ),
        ("assert 0.7 < new.auc < 0.9", ["assert 0.7 < new.auc < 0.9", "0.7 < 0.6512 < 0.9", "new.auc = 0.6512"]),
        ("assert new.table['a'] == 2", ["assert new.table['a'] == 2", "1 == 2", "new.table['a'] = 1"]),
        ("assert len([]) > 0", ["assert len([]) > 0", "0 > 0", "len([]) = 0"]),
        ("assert 'b' in new.table", ["assert 'b' in new.table", "'b' in {'a': 1}", "new.table = {'a': 1}"]),
        ("assert not new.auc", ["assert not new.auc", "new.auc = 0.6512"]),
        ("assert new.auc > 0.7, 'too low'", ["assert new.auc > 0.7", "too low", "0.6512 > 0.7", "new.auc = 0.6512"]),
        ("assert (new.auc >\n        0.7)", ["assert new.auc > 0.7", "0.6512 > 0.7", "new.auc = 0.6512"]),
    ],
)
def test_the_values_are_shown(statement, shown):
    assert failing(statement) == shown


def test_calls_with_effects_are_not_repeated():
    calls.clear()
    assert failing("assert effect() == 2") == ["assert effect() == 2"]
    assert calls == [1]


def test_long_values_are_cut():
    assert all(len(line) < 300 for line in failing("assert big == 1", big="x" * 5000))


def test_an_assertion_without_source_still_has_its_message():
    with pytest.raises(AssertionError) as raised:
        exec("assert 1 == 2, 'no'")
    assert explained(raised.value) == "no"
