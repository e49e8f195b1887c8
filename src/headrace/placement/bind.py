"""Where a server listens, and what that takes: for other hosts TLS, or a word that says what goes without."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.client.credentials import LOOPBACK
from headrace.errors import SettingsError, UsageError
from headrace.settings import Settings

CERTIFICATE, KEY, UNENCRYPTED = "--tls-certificate", "--tls-key", "--expose-unencrypted"
CLIENT_CA = "--tls-client-ca"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is bound to all of them is reached by
_LAST_PORT = 65535


@dataclass(frozen=True)
class Bind:
    """An address to listen on, and the files of the certificate that is shown there.

    Attributes:
        host: Where. Callers need tokens where others can reach it.
        port: 0 for a free one.
        certificate: PEM file: the certificate, and those between it and its root; None to speak unencrypted.
        key: PEM file: its key, without a passphrase.
        unencrypted: Whether another host is meant to go without TLS.
        client_ca: PEM file of the authority whose certificates callers must show; None to ask for none.

    Raises:
        SettingsError: Only one of certificate and key is said, or none and an authority for callers.
        UsageError: Others could reach it unencrypted, and nobody said that this is meant; or the port is none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    unencrypted: bool = False
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        checked_port(self.port)
        if (self.certificate is None) != (self.key is None):
            raise SettingsError(
                "a certificate and its key belong together",
                why=f"there is only {self.certificate or self.key}",
                fix="tls_certificate = ... and tls_key = ...",
            )
        if self.client_ca is not None and self.certificate is None:
            raise SettingsError(
                "callers cannot be asked for certificates",
                why="the gateway has none, and speaks unencrypted",
                fix="tls_certificate = ... and tls_key = ...",
            )
        if self.exposed and self.certificate is None and not self.unencrypted:
            raise UsageError(
                f"host {self.host!r} is refused",
                why="others would reach it, and whoever is on the way would read requests, answers and tokens",
                fix=f"{CERTIFICATE} and {KEY}; or {UNENCRYPTED}, where a proxy in front speaks TLS",
            )

    @property
    def exposed(self) -> bool:
        """Whether others than this machine may reach it, so that everybody needs a token."""
        return self.host not in LOOPBACK

    @property
    def scheme(self) -> str:
        """Of its URLs."""
        return "http" if self.certificate is None else "https"

    @property
    def reached_at(self) -> str:
        """Where this machine reaches it."""
        return _ANY.get(self.host, self.host)

    def asked(self, flags: Mapping[str, Any]) -> dict[str, str]:
        """Those options of the gateway's command line that a user typed, each with its value; a free port is none."""
        said = {"host": ("--host", self.host), "port": ("--port", str(self.port or ""))}
        said["tls_certificate"] = (CERTIFICATE, str(self.certificate and self.certificate.resolve()))
        said["tls_client_ca"] = (CLIENT_CA, str(self.client_ca and self.client_ca.resolve()))
        return dict(said[name] for name in said if flags.get(name))

    @property
    def options(self) -> list[str]:
        """The files, as the gateway's command line takes them."""
        found = [UNENCRYPTED] if self.unencrypted else []
        if self.certificate is not None and self.key is not None:
            found += [CERTIFICATE, str(self.certificate.resolve()), KEY, str(self.key.resolve())]
        if self.client_ca is not None:
            found += [CLIENT_CA, str(self.client_ca.resolve())]
        return found


def bind_of(settings: Settings, *, unencrypted: bool = False) -> Bind:
    """What the settings say; see ``Bind`` for what is refused.

    Args:
        settings: Those of the project; files are relative to its folder.
        unencrypted: Whether another host is meant to go without TLS, which no setting says.
    """
    said = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    certificate, key, client_ca = (settings.root / file if file else None for file in said)
    return Bind(settings.host, settings.port, certificate, key, unencrypted, client_ca)


def checked_port(port: int) -> int:
    """A port, or 0 for a free one; raise ``UsageError`` for any other number."""
    if not 0 <= port <= _LAST_PORT:
        raise UsageError(f"port {port} is none", why=f"ports go to {_LAST_PORT}", fix="--port 0 for a free one")
    return port


def authority(host: str, port: int | str) -> str:
    """Host and port as a URL has them: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
