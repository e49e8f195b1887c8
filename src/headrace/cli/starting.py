"""A gateway that a command started: wait for its models, showing how far it is, and until it ends."""

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.output import Output
from headrace.errors import Unavailable
from headrace.journey.scoreboard import gateway_client
from headrace.serving.deployment import history
from headrace.serving.model_folder import states

if TYPE_CHECKING:
    from headrace.client import Client
    from headrace.client.overview import Served
    from headrace.journey.platform import Platform

_LOOK_S = 0.1
_UNSEEN_S = 10.0
_WATCH_S = 0.5


def await_models(out: Output, platform: "Platform", endpoints: Collection[str], folder: Path | None) -> None:
    """Wait until the project's gateway has dealt with every model, and say which are not served.

    Args:
        out: Shows how many are dealt with.
        platform: Of the project.
        endpoints: What it was started for; empty for all that are deployed.
        folder: Of models that it serves besides.

    Raises:
        Unavailable: The gateway ended for good, or serves nothing.
    """
    expected = set(endpoints) or {deployment.endpoint.name for deployment in history(platform.ledger())}
    expected |= {name for name, _ in (states(folder) if folder else ())}
    for one in settled(out, gateway_client(platform), expected, lambda: _recovers(platform)):
        out.say(f"not served: {one.name} - {one.why}")


def settled(out: Output, client: "Client", expected: Collection[str], check: Callable[[], object]) -> list["Served"]:
    """Wait until a gateway serves every endpoint, or has said why not; return those that it does not serve.

    Args:
        out: Shows how many it has dealt with.
        client: Of the gateway.
        expected: Endpoints and models of a folder. One that it does not know of after a while is not waited for:
            settings may leave it out.
        check: Raises when the gateway will not come back.

    Raises:
        Unavailable: It ended for good, or serves none of them.
    """
    seen_all_by = time.monotonic() + _UNSEEN_S
    with out.progress("loaded", len(expected)) as told:
        while True:
            found, ready = _look(client, check)
            loading = sum(one.state == "loading" for one in found)
            told(len(found) - loading, max(len(expected), len(found)))
            unseen = set(expected).difference(one.name for one in found)
            if found and not loading and (not unseen or time.monotonic() > seen_all_by):
                failed = [one for one in found if one.state == "failed"]
                if failed or ready:
                    return _some(failed, found)
            time.sleep(_LOOK_S)


def watch(platform: "Platform") -> None:
    """Return when the gateway has ended for good."""
    while platform.services().state(platform.settings.gateway).state == "running" or _recovers(platform):
        time.sleep(_WATCH_S)


def _recovers(platform: "Platform") -> bool:
    """Whether a gateway that is down is being started again."""
    time.sleep(_WATCH_S)
    state = platform.services().state(platform.settings.gateway)
    if state.state == "failed" and state.detail != "between two lives":
        raise Unavailable("the gateway ended", why=state.detail)
    return state.state != "stopped"


def _look(client: "Client", check: Callable[[], object]) -> tuple[Sequence["Served"], bool]:
    """Every endpoint, and whether the gateway is ready."""
    try:
        return client.overview().endpoints, client.ready()
    except Unavailable:
        check()
        return (), False


def _some(failed: list["Served"], found: Sequence["Served"]) -> list["Served"]:
    if len(failed) == len(found):
        more = f"; and {len(failed) - 1} more" * (len(failed) > 1)
        raise Unavailable("the gateway serves nothing", where=failed[0].name, why=failed[0].why + more)
    return failed
