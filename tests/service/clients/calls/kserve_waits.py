"""KServe's REST client asks whether models are ready: the first is, the second is not."""

import asyncio
import sys

from kserve import InferenceRESTClient
from kserve.inference_client import RESTConfig

BASE, READY, YOUNG = f"http://{sys.argv[1]}", *sys.argv[2:]


async def ask():
    client = InferenceRESTClient(config=RESTConfig(protocol="v1"))
    assert await client.is_model_ready(BASE, READY) is True
    assert await client.is_model_ready(BASE, YOUNG) is False


asyncio.run(ask())
