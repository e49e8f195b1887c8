"""Folders of MLflow models, written by MLflow itself."""

import importlib
import json
import shutil
import textwrap
from pathlib import Path

from headrace.engines.mlflow.quiet import quiet

SUMS = """
    import json
    import pandas as pd

    class Sums:
        def __init__(self, weights):
            self.weights = weights

        def predict(self, rows, params=None):
            return pd.DataFrame({"total": sum(rows[name] * weight for name, weight in self.weights.items())})

    def _load_pyfunc(path):
        with open(path) as file:
            return Sums(json.load(file))
"""
# What only installing reads; nothing of it matters to a model that is loaded.
_UNREAD = ("conda.yaml", "python_env.yaml", "requirements.txt", "serving_input_example.json")


def save(folder, code, data, **more):
    """A model of a loader of its own, in ``code``, that reads ``data``: the folder that MLflow writes."""
    source = Path(f"{folder}-source")
    source.mkdir()
    (source / "own_loader.py").write_text(textwrap.dedent(code))
    (source / "data.json").write_text(data)
    with quiet():
        from mlflow import pyfunc

        pyfunc.save_model(
            str(folder),
            loader_module="own_loader",
            data_path=str(source / "data.json"),
            code_paths=[str(source / "own_loader.py")],
            pip_requirements=[],
            **more,
        )
    shutil.rmtree(source)
    return Path(folder)


def bare(folder):
    """The same folder with nothing in it that loading does not read."""
    for name in _UNREAD:
        (folder / name).unlink(missing_ok=True)
    return folder


def schemas(inputs, outputs):
    """MLflow's signature of examples."""
    with quiet():
        from mlflow.models import infer_signature

        return infer_signature(inputs, outputs)


def wrapped(saved, folder, trusted=("pickle",)):
    """The files of a registered model, with ``saved`` in them."""
    shutil.copytree(saved, folder / "model.mlflow")
    if trusted:
        (folder / "trusted.json").write_text(json.dumps(list(trusted)))
    return folder


def flavored(folder, flavor, model, **more):
    """A model as MLflow's flavor (``sklearn``, ``xgboost``) saves it."""
    with quiet():
        importlib.import_module(f"mlflow.{flavor}").save_model(model, str(folder), pip_requirements=[], **more)
    return Path(folder)


SHIFTS = """
    import pandas as pd

    class Shifts:
        def predict(self, rows, params=None):
            said = params or {}
            kinds = {name: type(value).__name__ for name, value in said.items()}
            assert kinds == {"factor": "float", "times": "int", "up": "bool", "by": "list", "who": "str",
                             "day": "date", "how": "dict"}, kinds
            total = rows["a"] * said["factor"] ** said["times"] + sum(said["by"]) + len(said["who"])
            total = total + said["day"].day + said["how"].get("more", 0)
            return pd.DataFrame({"total": total if said["up"] else -total})

    def _load_pyfunc(path):
        return Shifts()
"""
SAID = {
    "factor": 2.0,
    "times": 1,
    "up": True,
    "by": [0.5, 0.25],
    "who": "ann",
    "day": "2026-05-01",
    "how": {"more": 1},
}
"""Parameters of every kind, and what holds where they are not said."""


def shifts(folder, inputs, **more):
    """A model of ``SHIFTS`` as its author saved it: of column ``a``, with parameters."""
    with quiet():
        from mlflow.models import infer_signature
        from mlflow.types.schema import ParamSchema, ParamSpec

        signature = infer_signature(inputs, more.pop("outputs"), params=SAID)
        specs = [ParamSpec("day", "datetime", "2026-05-01") if s.name == "day" else s for s in signature.params.params]
        signature.params = ParamSchema(specs)
    said = more.pop("params", None)  # what the example says besides its rows
    return save(folder, SHIFTS, "{}", signature=signature, input_example=(inputs, said) if said else inputs, **more)
