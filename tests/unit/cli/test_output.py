"""Progress on stderr: what is done, of how many, how fast, and how long the rest takes."""

import io
import os

import pytest

from headrace.cli import output as output_module
from headrace.cli.output import Output, aligned, fitted


class Screen(io.StringIO):
    def __init__(self, *, alive):
        super().__init__()
        self.isatty = lambda: alive


@pytest.fixture
def now(monkeypatch):
    moments = [100.0]
    monkeypatch.setattr(output_module.time, "monotonic", lambda: moments[0])
    return moments


@pytest.fixture
def screen(monkeypatch):
    def shown(*, alive, columns=80):
        found = Screen(alive=alive)
        monkeypatch.setattr(output_module.sys, "stderr", found)
        monkeypatch.setattr(output_module.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
        return found

    return shown


@pytest.mark.parametrize(
    ("done", "total", "after_s", "said"),
    [
        (3000, 12_000, 3.0, "requests 3,000 of 12,000, 1,000 a second, 9 s left"),
        (3000, 1_000_000, 3.0, "requests 3,000 of 1,000,000, 1,000 a second, 17 min left"),
        (3000, 90_000_000, 3.0, "requests 3,000 of 90,000,000, 1,000 a second, 25 h left"),
        (3000, 3000, 3.0, "requests 3,000 of 3,000, 1,000 a second, 0 s left"),
        (3000, 0, 3.0, "requests 3,000, 1,000 a second"),
        (3000, 12_000, 0.0, "requests 3,000 of 12,000"),
    ],
)
def test_a_terminal_is_told_the_rest(now, screen, done, total, after_s, said):
    shown = screen(alive=True)
    with Output().progress("requests") as told:
        told(0, 0)
        now[0] += after_s
        told(done, total)
        lines = shown.getvalue().split("\r\x1b[2K")
        assert [line.partition(" [")[0].strip() for line in lines] == ["", said]
    assert shown.getvalue().endswith("\r\x1b[2K")


@pytest.mark.parametrize(("columns", "bar"), [(140, 30), (80, 18), (60, 0)])
def test_a_line_is_never_longer_than_the_terminal(now, screen, columns, bar):
    """A line that is broken in two could not be drawn over."""
    shown = screen(alive=True, columns=columns)
    with Output().progress("requests", about=True) as told:
        told(0, 0)
        now[0] += 5.0
        told(5000, 10_000)
        line = shown.getvalue().rpartition("\r\x1b[2K")[2]
    assert line.startswith("  requests 5,000 of about 10,000, 1,000 a second, 5 s left")
    assert len(line) < columns
    assert line.count("#") == bar // 2


def test_elsewhere_a_line_is_written_every_few_seconds(now, screen):
    shown = screen(alive=False)
    with Output().progress("requests", 100) as told:
        now[0] += 60.0  # until there is something to count
        for done in range(0, 101, 5):
            told(done)
            now[0] += 0.5
    assert shown.getvalue().splitlines() == [
        "  requests 50 of 100, 10 a second, 5 s left",
        "  requests 100 of 100, 10 a second, 0 s left",
    ]


def test_quiet_says_nothing(now, screen):
    shown = screen(alive=True)
    with Output(quiet=True).progress("requests", 100) as told:
        now[0] += 9.0
        told(50)
    assert shown.getvalue() == ""


ROWS = [
    {"at": "2026-11-28 01:22:52Z", "deployment": 7, "by": "ada@mill", "split": "", "why": "better for two weeks " * 4},
    {
        "at": "2026-11-28 01:23:00Z",
        "deployment": 12,
        "by": "bob",
        "split": "late@2 5%, late@3 5%",
        "why": "unbroken" * 9,
    },
]


@pytest.fixture
def terminal(monkeypatch):
    def of(columns, *, alive=True):
        monkeypatch.setattr(output_module.sys, "stdout", Screen(alive=alive))
        monkeypatch.setattr(output_module.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))

    return of


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_table_fits_the_terminal_and_loses_nothing(terminal, columns):
    terminal(columns)
    lines = fitted(ROWS, list(ROWS[0]))
    assert max(map(len, lines)) < columns
    assert lines[0].split() == ["AT", "DEPLOYMENT", "BY", "SPLIT", "WHY"]
    start = lines[0].index("WHY")
    whole = "".join(line[start:].replace(" ", "") for line in lines[1:])
    assert whole == "betterfortwoweeks" * 4 + "unbroken" * 9
    split = lines[0].index("SPLIT")
    assert (
        "late@2 5%, late@3 5%" in " ".join(line[split:start].strip() for line in lines[1:]).replace("  ", " ").strip()
    )


def test_a_table_is_not_broken_where_it_fits_or_nobody_looks(terminal):
    whole = aligned(ROWS, list(ROWS[0]))
    terminal(80, alive=False)
    assert fitted(ROWS, list(ROWS[0])) == whole
    terminal(200)
    assert fitted(ROWS, list(ROWS[0])) == whole


HOSTILE = "red\x1b[31m \x07\x9b2J \u202eback\nanswer 1"
TAMED = r"red\x1b[31m \x07\x9b2J \u202eback"


def test_what_callers_sent_does_not_steer_the_terminal(capsys):
    Output().result({}, [HOSTILE])
    assert capsys.readouterr().out == f"{TAMED}\nanswer 1\n"
    assert aligned([{"why": HOSTILE}], ["why"])[1:] == [rf"{TAMED}\nanswer 1"]
    Output().failure("usage", HOSTILE, {})
    assert capsys.readouterr().err == f"error [usage] {TAMED}\nanswer 1\n"


def test_what_the_project_printed_stays_as_it_is(capsys):
    Output().result({}, ["\x1b[32mOK\x1b[0m\r"], own=True)
    assert capsys.readouterr().out == "\x1b[32mOK\x1b[0m\r\n"
