"""What a caller shows a server, and what it asks to see of it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import SettingsError, UsageError

if TYPE_CHECKING:  # on this machine nothing is encrypted
    from ssl import SSLContext

TOKEN, TOKEN_FILE, SHOWN = "HEADRACE_TOKEN", "HEADRACE_TOKEN_FILE", "HEADRACE_CLIENT_CERTIFICATE"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Addresses that this machine alone reaches."""


def own_token(file: Path | None = None) -> str:
    """The token of this process: of the environment, else of a file; empty where there is none.

    Args:
        file: Where it is; by default where the environment says.

    Raises:
        SettingsError: The file cannot be read, or holds no token.
    """
    said = os.environ.get(TOKEN, "")
    if said:
        return checked_token(said, TOKEN)
    named = file or (Path(os.environ[TOKEN_FILE]) if os.environ.get(TOKEN_FILE) else None)
    if named is None:
        return ""
    try:
        return checked_token(named.read_text("utf-8"), str(named))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no text"
        raise SettingsError("the token cannot be read", where=str(named), why=why) from error


def checked_token(said: str, where: str) -> str:
    """A token without blanks around it; raise ``SettingsError``, which does not repeat it, for what cannot be one."""
    token = said.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        fix = "the line that headrace tokens make printed"
        raise SettingsError("that is no token", where=where, why="one word is due", fix=fix)
    return token


def check_way(scheme: str, host: str, token: str, *, unencrypted: bool) -> None:
    """Raise ``UsageError`` where a token would go to another host in the clear, and nobody said that it may."""
    if token and scheme != "https" and host not in LOOPBACK and not unencrypted:
        raise UsageError(
            f"the token is not sent to {host} unencrypted",
            why="whoever is on the way could read it, and use it",
            fix="https://, or Client(..., unencrypted=True) where a proxy or mesh encrypts",
        )


def trusting(shown: Path | None = None) -> "SSLContext":
    """Trust whom the system trusts.

    Args:
        shown: PEM file of our own certificate and its key, for a server that asks for one; by default the one that the
            environment names, if it does.

    Raises:
        SettingsError: That cannot be used.
    """
    import ssl

    context = ssl.create_default_context()
    named = shown or (Path(os.environ[SHOWN]) if os.environ.get(SHOWN) else None)
    if named is not None:
        show(context, named)
    return context


def show(context: "SSLContext", certificate: Path) -> None:
    """Have servers that ask for a certificate be shown this one.

    Args:
        context: Of connections to them.
        certificate: PEM file of it and its key.

    Raises:
        SettingsError: It cannot be used.
    """
    try:
        context.load_cert_chain(certificate, password="")  # else OpenSSL would ask the terminal
    except (OSError, ValueError) as error:
        raise SettingsError(
            "the certificate to be shown cannot be used",
            where=str(certificate),
            why=getattr(error, "strerror", "") or str(error),
            fix="a PEM file of a certificate and of its own key, without a passphrase",
        ) from error


def pinned(certificate: Path, shown: Path | None = None) -> "SSLContext":
    """Trust the holder of this certificate alone, by whatever address it is reached.

    Args:
        certificate: PEM file; the first certificate in it counts.
        shown: PEM file of our own certificate and its key, for a server that asks for one.

    Raises:
        SettingsError: One of them cannot be read, or used.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # which certificate it is says more than a name in it
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    end = "-----END CERTIFICATE-----"
    try:
        first, found, _ = certificate.read_text("ascii").partition(end)
        context.load_verify_locations(cadata=first + found)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") or str(error)
        raise SettingsError("the certificate cannot be read", where=str(certificate), why=why) from error
    if shown is not None:
        show(context, shown)
    return context
