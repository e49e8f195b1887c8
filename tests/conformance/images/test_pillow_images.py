import pytest

from headrace.conformance.images import ImagesSuite
from headrace.engines.pillow.images import open_images
from headrace.settings import Settings


class TestPillowImages(ImagesSuite):
    @pytest.fixture
    def images(self, tmp_path):
        return open_images(Settings(root=tmp_path), "pillow")
