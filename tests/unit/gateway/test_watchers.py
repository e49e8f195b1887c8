"""Who watches the health of a gateway over gRPC needs no token: a thousand cost what one costs."""

import asyncio
from types import SimpleNamespace

from headrace.gateway.rpc import health
from headrace.gateway.rpc.health import HEALTH, HealthService

SERVING, NOT_SERVING = 1, 2
WATCHERS = 40


def test_one_looks_for_all_who_watch_and_all_are_told(monkeypatch):
    plane, asleep, most, told = SimpleNamespace(ready=True), set(), [], []
    sleep = asyncio.sleep

    async def counted(_seconds):
        asleep.add(me := object())
        most.append(len(asleep))
        await sleep(0)
        asleep.discard(me)

    monkeypatch.setattr(health.asyncio, "sleep", counted)

    async def watched():
        service = HealthService(plane, ())
        asked = HEALTH.HealthCheckRequest().SerializeToString()

        async def watch():
            found = [reply.status async for reply in _heard(service._watch(asked, None))]
            told.append(found)

        async def _heard(replies):
            async for reply in replies:
                heard.append(reply.status)
                yield reply

        heard = []
        watchers = [asyncio.ensure_future(watch()) for _ in range(WATCHERS)]
        for ready in (True, False, True):
            plane.ready, due = ready, len(heard) + WATCHERS
            async with asyncio.timeout(10):
                while len(heard) < due or len(most) < 20:
                    await sleep(0)
        service.ending = True
        await asyncio.wait_for(asyncio.gather(*watchers), 10)

    asyncio.run(watched())
    assert told == [[SERVING, NOT_SERVING, SERVING, NOT_SERVING]] * WATCHERS
    assert max(most) == 1
