"""What the client library raises, in our words."""

import aiohttp
import pytest

from headrace.engines.fsspec.faults import translated
from headrace.errors import Unavailable


def test_a_body_that_breaks_off_is_a_store_that_cannot_be_reached():
    with pytest.raises(Unavailable, match="cannot be reached"), translated("s3://shop"):
        raise aiohttp.ClientPayloadError("Response payload is not completed")
