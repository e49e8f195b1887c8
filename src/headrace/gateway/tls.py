"""The certificate of a gateway, for HTTP and gRPC, and whose certificates it asks for.

A renewed certificate is taken up without a restart; the authority of callers is the one of the start.
"""

import ssl
from pathlib import Path

from headrace.errors import SettingsError


class Tls:
    """A certificate and its key.

    Args:
        certificate: PEM file, with the certificates between it and its root.
        key: PEM file, without a passphrase.
        client_ca: PEM file of the authority whose certificates callers must show; None to ask for none.

    Attributes:
        context: What HTTP is wrapped into.
        pem: Certificate and key as they were read last.
        authority: The certificates of ``client_ca``; None without.

    Raises:
        SettingsError: They cannot be read, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate, self._key = certificate, key
        self.context = _context()
        self.pem = self._read()
        self._load(self.context)
        self.authority = None if client_ca is None else _asking(self.context, client_ca)

    def renew(self) -> None:
        """Show what the files hold now to connections that are made from now on; see the class for what is raised."""
        pem = self._read()
        self._load(_context())  # what cannot be used must not spoil the one that can
        self._load(self.context)
        self.pem = pem

    def _read(self) -> tuple[bytes, bytes]:
        try:
            return self._certificate.read_bytes(), self._key.read_bytes()
        except OSError as error:
            why = error.strerror or str(error)
            raise SettingsError("the certificate cannot be read", where=str(error.filename), why=why) from error

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, password="")  # else OpenSSL would ask the terminal
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingsError(
                "the certificate cannot be used",
                where=f"{self._certificate}, {self._key}",
                why=str(error),
                fix="PEM files of a certificate and of its own key, without a passphrase",
            ) from error


def _asking(context: ssl.SSLContext, client_ca: Path) -> bytes:
    """Have callers show a certificate of an authority, or not be let in; return its own."""
    try:
        pem = client_ca.read_bytes()
        context.load_verify_locations(cadata=pem.decode("ascii"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            "the authority of callers cannot be used",
            where=str(client_ca),
            why=getattr(error, "strerror", "") or str(error),
            fix="a PEM file of its certificates",
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    # Who resumes a session is not verified again, though its certificate may have expired: TLS 1.3 can do without.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    return pem


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
