"""The embedded engines on a fresh project."""

import pytest

from headrace.assembly import open_platform
from headrace.settings import Settings


@pytest.fixture
def stores(tmp_path):
    platform = open_platform(Settings(root=tmp_path / "project", workers=1))
    yield platform.stores()
    platform.close()


@pytest.fixture
def csv(tmp_path):
    """Writes a CSV file of a name and content, and returns its path."""

    def write(name, text):
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        return path

    return write
