"""Use case: how the models of an endpoint do, as the gateway that serves it counts them."""

from pathlib import Path

from headrace.client import Client
from headrace.client.credentials import own_token, pinned, trusting
from headrace.client.overview import Served
from headrace.errors import NotFound, Unavailable
from headrace.journey.platform import Platform
from headrace.placement.gateway import asks_for_tokens, certificate_of, elsewhere
from headrace.placement.services import ServiceState
from headrace.placement.tokens import control_token


def gateway_client(platform: Platform, timeout_s: float = 10.0) -> Client:
    """A client of the gateway that the settings name: one of this machine, or one elsewhere by its URL.

    Args:
        platform: Of the project.
        timeout_s: For connecting, and for each wait for bytes.

    Raises:
        Unavailable: None runs here.
        UsageError: The URL is none, or the token would go to another host unencrypted.
    """
    named = platform.settings.gateway
    if elsewhere(named):
        tls = trusting(_shown(platform)) if named.lower().startswith("https:") else None
        return Client(named, token=_given_token(platform), tls=tls, timeout_s=timeout_s)
    state = platform.services().state(platform.settings.gateway)
    if state.state != "running":
        raise Unavailable("the gateway does not run", why=state.detail, fix="headrace serving run --detach")
    return client_of(platform, state, timeout_s)


def client_of(platform: Platform, state: ServiceState, timeout_s: float = 10.0) -> Client:
    """A client of a gateway of the project, which knows its certificate and has the token that it asks for.

    Args:
        platform: Of the project.
        state: Of the gateway.
        timeout_s: For connecting, and for each wait for bytes.

    Raises:
        SettingsError: There is no reading the token, or a certificate.
    """
    token, certificate = _given_token(platform), certificate_of(state.command)
    if not token and asks_for_tokens(state.command):
        token = control_token(platform.home)
    tls = None if certificate is None else pinned(certificate, _shown(platform))
    return Client(state.address, token=token, tls=tls, unencrypted=True, timeout_s=timeout_s)


def _given_token(platform: Platform) -> str:
    settings = platform.settings
    return own_token(settings.root / settings.token_file if settings.token_file else None)


def _shown(platform: Platform) -> Path | None:
    """The certificate that commands show a gateway which asks for one."""
    settings = platform.settings
    return settings.root / settings.client_certificate if settings.client_certificate else None


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
