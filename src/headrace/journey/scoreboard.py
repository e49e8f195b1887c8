"""Use case: how the models of an endpoint do, as the gateway that serves it counts them."""

from headrace.client import Client
from headrace.client.overview import Served
from headrace.errors import NotFound, Unavailable
from headrace.journey.platform import Platform


def gateway_client(platform: Platform) -> Client:
    """A client of the project's running gateway.

    Raises:
        Unavailable: None runs.
    """
    state = platform.services().state(platform.settings.gateway)
    if state.state != "running":
        raise Unavailable("the gateway does not run", why=state.detail, fix="headrace serving run --detach")
    return Client(state.address)


def scoreboard(client: Client, endpoint: str) -> Served:
    """The models of an endpoint side by side, as its gateway counts them.

    Raises:
        NotFound: The gateway has no such endpoint.
        Unavailable: It does not answer.
    """
    served = next((one for one in client.overview().endpoints if one.name == endpoint), None)
    if served is None:
        raise NotFound(f"no endpoint named {endpoint!r}", fix="headrace serving ls")
    return served
