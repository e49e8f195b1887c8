import pytest
from wine_project import WineProject


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    yield opened
    opened.close()
