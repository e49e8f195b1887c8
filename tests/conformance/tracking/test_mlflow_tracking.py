import pytest

from headrace.conformance.tracking import TrackingSuite
from headrace.engines.mlflow.tracking import MlflowTracking


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return MlflowTracking(tmp_path_factory.mktemp("mlflow"))


class TestMlflowTracking(TrackingSuite):
    @pytest.fixture
    def tracking(self, database):
        return database
