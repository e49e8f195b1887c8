"""One vendor, one folder: whatever else is imported is the standard library or the vocabulary."""

import ast
import sys

VOCABULARY = {"headrace", "msgspec", "narwhals", "numpy", "platformdirs", "pyarrow"}
VENDORS = {
    "engines.duckdb": {"duckdb"},
    "engines.fsspec": {"aiohttp", "botocore", "fsspec", "s3fs"},
    "engines.kafka": {"confluent_kafka"},
    "engines.keras": {"h5py", "keras"},
    "engines.lightgbm": {"lightgbm"},
    "engines.litert": {"ai_edge_litert"},
    "engines.mlflow": {"mlflow"},
    "engines.onnxruntime": {"onnxruntime"},
    "engines.optuna": {"optuna"},
    "engines.pandas": {"pandas"},
    "engines.pillow": {"PIL"},
    "engines.polars": {"polars"},
    "engines.postgres": {"psycopg"},
    "engines.sklearn": {"joblib", "onnx", "scipy", "skl2onnx", "sklearn"},
    "engines.skops": {"skops"},
    "engines.sqlite": {"sqlite3"},
    "engines.tensorflow": {"tensorflow"},
    "engines.torch": {"torch"},
    "engines.xgboost": {"xgboost"},
    "cli": {"click", "rich"},
    "gateway": {"google", "grpc", "httptools", "uvicorn", "uvloop"},
    "conformance": {"pytest"},
}
WEB_AND_TERMINAL = {"curses", "http.server", "socketserver", "wsgiref", "xmlrpc"}
EDGES = {"cli", "console", "gateway", "conformance", "__main__"}


def test_every_import_is_allowed_where_it_is(modules):
    strangers = {
        f"{module.where}:{line} {name}"
        for module in modules
        for line, name in _imports(module.tree)
        if not _allowed(name.partition(".")[0], module.name)
    }
    assert strangers == set()


def test_every_vendor_has_its_contract(modules, root):
    contracts = (root / ".importlinter").read_text("utf-8").split()
    used = {name.partition(".")[0] for module in modules for _, name in _imports(module.tree)}
    owned = {vendor for vendors in VENDORS.values() for vendor in vendors} - {"pytest"}
    assert sorted(used & owned - set(contracts)) == [], "give it a protected contract in .importlinter"


def test_no_web_or_terminal_module_below_the_edges(modules):
    found = {
        f"{module.where}:{line} {name}"
        for module in modules
        if module.room not in EDGES
        for line, name in _imports(module.tree)
        if name in WEB_AND_TERMINAL
    }
    assert found == set()


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module


def _allowed(top, module):
    home = module.removeprefix("headrace.")
    owners = [folder for folder, vendors in VENDORS.items() if top in vendors]
    if owners:
        return any(home == folder or home.startswith(f"{folder}.") for folder in owners)
    return top in VOCABULARY or top in sys.stdlib_module_names
