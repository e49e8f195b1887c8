"""``headrace.conformance.files`` on a real store of the S3 protocol."""

import pytest

from headrace.conformance.files import FilesSuite
from headrace.engines.fsspec.files import open_files
from headrace.settings import Settings

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def opened(started_s3, tmp_path_factory):
    """Opened once: a client of S3 is not made quickly."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in started_s3.variables().items():
            patch.setenv(name, value)
        files = open_files(Settings(root=tmp_path_factory.mktemp("project")), started_s3.uri())
        yield files
        files.close()


class TestS3Files(FilesSuite):
    @pytest.fixture
    def files(self, opened):
        for key in opened.list(""):
            opened.delete(key)
        return opened
