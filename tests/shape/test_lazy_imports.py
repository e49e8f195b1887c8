"""Nothing heavy is imported unasked, and starting is cheap."""

import os
import statistics
import subprocess
import sys

import pytest

HEAVY = {
    *(
        "confluent_kafka",
        "duckdb",
        "mlflow",
        "narwhals",
        "numpy",
        "onnx",
        "onnxruntime",
        "optuna",
        "pandas",
        "polars",
        "pyarrow",
    ),
    *("rich", "scipy", "skl2onnx", "sklearn", "sqlite3", "uvicorn", "uvloop", "httptools"),
}
ENGINE_VENDORS = HEAVY - {"narwhals", "numpy", "pyarrow", "sqlite3"}
RUN_HELP = "import sys; sys.argv = ['headrace', '--help']\nimport headrace.cli\ntry: headrace.cli.main()\nexcept SystemExit: pass"
LOAD_COMMANDS = """
import importlib
from headrace.cli import COMMANDS
for name, (module, _) in COMMANDS.items():
    importlib.import_module('headrace.cli.' + module)
"""


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("import headrace", HEAVY | {"click"}),
        (RUN_HELP, HEAVY),
        (LOAD_COMMANDS, ENGINE_VENDORS),
        ("import headrace.journey.explain", HEAVY - {"numpy"}),
    ],
    ids=["import", "help", "commands", "explain"],
)
def test_no_engine_is_imported_unasked(code, refused):
    loaded = _modules_after(code)
    assert {name.partition(".")[0] for name in loaded} & refused == set()
    assert {name for name in loaded if name.startswith("headrace.engines.")} == set()


def test_importing_headrace_imports_no_room():
    assert {name for name in _modules_after("import headrace") if name.startswith("headrace.")} == set()


@pytest.mark.parametrize(("code", "bar_s"), [("import headrace", 0.080), (RUN_HELP, 0.150)], ids=["import", "help"])
def test_starting_costs_little(code, bar_s):
    _cpu_s(code)  # writes the bytecode
    extra = [_cpu_s(code) - _cpu_s("pass") for _ in range(7)]
    assert statistics.median(extra) <= bar_s


def _modules_after(code):
    listing = f"{code}\nimport sys; sys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return done.stderr.split()


def _cpu_s(code):
    """CPU seconds, user and system, of one interpreter that runs ``code``."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime
