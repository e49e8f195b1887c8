"""A project that serves models in the gateway's process and models in workers of their own."""

import json

import fragile
import polars as pl
from load import predict
from wine_project import ROW, WineProject

from headrace.delivery.deploy import deploy
from headrace.models.registry import Registration, register
from headrace.sdk.functions import serve_function
from headrace.serving.endpoint import Endpoint, Preference

DEFAULT = -7.0
WINE = predict("wine", json.dumps({"instances": [ROW]}).encode())


def asked(endpoint, x=1.5, path=""):
    """A predict request of a model that doubles."""
    return predict(endpoint, json.dumps({"instances": [{"x": x}]}).encode(), path)


class MixedProject(WineProject):
    """``wine``, an ONNX model in the gateway, and any number of models that double in workers."""

    def __init__(self, root, *, memory_mb=512):
        super().__init__(root)
        (root / "headrace.toml").write_text(f"model_memory_mb = {memory_mb}\n")

    def double(self, name, *, deadline_s=1.0, **more):
        """Register ``fragile.doubled`` under this name and deploy it as an endpoint of the same name."""
        example = pl.DataFrame({"x": [1.5]})
        version = register(
            self.platform.stores(), serve_function(fragile.doubled), Registration(name, example, "CC0-1.0")
        )
        schedule = (Preference(str(version), deadline_s),)
        deploy(self.platform.ledger(), Endpoint(name, schedule, deadline_s, {"doubled": DEFAULT}, **more), who="test")
