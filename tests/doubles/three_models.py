"""A project with three models of which one misbehaves when told to, what is asked of it, and what its log holds."""

import json
from collections import Counter

import moody
import polars as pl
from load import predict
from served import onnx_artifact
from wine_project import COLUMNS, ROW, WineProject

from headrace.delivery.deploy import deploy
from headrace.models.registry import Registration, register
from headrace.sdk.functions import serve_function
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.log import RequestLog

DEADLINE_S = 0.05
BEST, SECOND, THIRD = "moody@1", "heavy@1", "light@1"


def asked(density=ROW["density"], endpoint="wine", **more):
    return predict(endpoint, json.dumps({"instances": [{**ROW, "density": density, **more}]}).encode())


def three_models(root, settings=""):
    """A project whose endpoint prefers a function in a worker of its own, then two ONNX models in the gateway."""
    project = WineProject(root, settings)
    example = pl.DataFrame(COLUMNS)
    made = {
        "moody": serve_function(moody.moody, outputs=("quality",)),
        "heavy": onnx_artifact(COLUMNS, [1, 10, 100]),
        "light": onnx_artifact(COLUMNS, [2, 0, 0]),
    }
    for name, artifact in made.items():
        register(project.platform.stores(), artifact, Registration(name, example, "CC0-1.0"))
    schedule = tuple(Preference(name, wait) for name, wait in ((BEST, 0.03), (SECOND, 0.04), (THIRD, 0.045)))
    deploy(project.platform.ledger(), Endpoint("wine", schedule, DEADLINE_S, {"quality": 5.0}), who="test")
    return project


def logged(project, endpoint="wine"):
    """Every logged request, in the log's order."""
    log, found, after = RequestLog(project.platform.stream(), endpoint), [], -1
    while page := log.predictions(after, 1000, late=False):
        after = page[-1][0]
        found += [prediction for _, prediction in page]
    return found


def harm(loads, log):
    """Acknowledged requests that are not in the log, and requests answered or logged more than once."""
    acknowledged = Counter(reply.id for load in loads for reply in load.replies if reply.status == 200)
    ids = Counter(prediction.id for prediction in log)
    twice = {i for i, times in (*acknowledged.items(), *ids.items()) if times > 1}
    return len(acknowledged.keys() - ids.keys()), len(twice) + sum(load.unasked for load in loads)
