"""Tracking on MLflow with SQLite and no server. Read it with ``mlflow ui --backend-store-uri <address()>``.

Importing MLflow costs seconds, so it happens at the first ``mirror`` and not before.
"""

import re
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.engines.mlflow.quiet import quiet
from headrace.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "headrace.key"
PARAMS_A_BATCH = 100
VALUE_CHARACTERS = 6000
NAME_CHARACTERS = 250


class MlflowTracking:
    """Finished runs in an MLflow database.

    Args:
        folder: Where ``mlflow.db`` lies; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def address(self) -> str:
        """The SQLite URI that MLflow's own client and UI take."""
        return f"sqlite:///{self._folder / 'mlflow.db'}"

    def mirror(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        """Write a finished run; see ``Tracking.mirror``. A run that an earlier call left unfinished is completed."""
        home = self._experiment(experiment)
        found = self._client.search_runs([home], f"tags.`{KEY}` = '{tags['key']}'", max_results=1)
        if found and found[0].info.status == "FINISHED":
            return str(found[0].info.run_id)
        marked = {f"headrace.{tag}": value for tag, value in tags.items()}
        run = found[0] if found else self._client.create_run(home, run_name=name, tags=marked)
        identifier = str(run.info.run_id)
        self._log(identifier, params, metrics)
        self._client.set_terminated(identifier)
        return identifier

    def _log(self, run: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        measured = [Metric(_name(name), float(value), now, 0) for name, value in metrics.items()]
        written = [Param(_name(name), str(value)[:VALUE_CHARACTERS]) for name, value in params.items()]
        self._client.log_batch(run, metrics=measured, params=written[:PARAMS_A_BATCH])
        for begin in range(PARAMS_A_BATCH, len(written), PARAMS_A_BATCH):
            self._client.log_batch(run, params=written[begin : begin + PARAMS_A_BATCH])

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=(self._folder / "artifacts").as_uri()))

    @cached_property
    def _client(self) -> "MlflowClient":
        self._folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            from mlflow import MlflowClient

            return MlflowClient(tracking_uri=self.address())


def _name(text: str) -> str:
    """The text with what MLflow allows in names."""
    return re.sub(r"[^\w\-. :/]", "_", text)[:NAME_CHARACTERS]


def open_tracking(settings: Settings, uri: str) -> MlflowTracking:  # noqa: ARG001 - what every factory takes
    """The engine factory ``tracking.mlflow``: ``.headrace/mlflow`` of the project."""
    return MlflowTracking(settings.home_path / "mlflow")
