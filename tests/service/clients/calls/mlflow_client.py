"""MLflow's ScoringServerClient, unmodified."""

import sys

import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port = sys.argv[1].split(":")
client = ScoringServerClient(host, port)
client.ping()
assert client.get_version()
client.wait_server_ready(10)
rows = pd.DataFrame({"ph": [3.1, 3.4], "alcohol": [9.5, 12.0], "density": [0.99, 1.0]})
predictions = client.invoke(rows).get_predictions()
assert abs(predictions[0] - [330.4, 363.0]).max() < 1e-3
