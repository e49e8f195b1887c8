"""``kafka://a:9092,b:9092/shop?replicas=3``: which brokers, which topics of theirs, and how those are made."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from headrace.engines.kafka.faults import Heard
from headrace.errors import SettingsError
from headrace.refs import checked_name

PASSWORD = "HEADRACE_KAFKA_PASSWORD"  # noqa: S105 - the variable's name
_CRITICAL = 2  # of syslog's levels
_BACKOFF_MS = 20
"""A client waits half of this, or 11 ms, before its second connection, which is the one that it keeps."""
_EXAMPLE = "kafka://broker:9092/shop?replicas=3"
_CLIENT = ("security.protocol", "sasl.mechanism", "sasl.username", "ssl.ca.location")
_OPTIONS = ("replicas", *_CLIENT)


@dataclass(frozen=True)
class Address:
    """A cluster, and this project's part of it.

    Attributes:
        brokers: ``host:port``, by commas; some of them suffice.
        prefix: First part of the names of all topics.
        replicas: How many brokers keep each topic; -1 leaves that to the cluster.
        client: The client library's own properties of security.
        heard: What the connections complained of.
    """

    brokers: str
    prefix: str = "headrace"
    replicas: int = -1
    client: Mapping[str, str] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard, compare=False, repr=False)

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """Read the setting ``stream``.

        Raises:
            SettingsError: No broker is named, or an option is unknown, no number, or a secret.
            NameRefused: The path is no name.
        """
        parts = urlsplit(uri)
        if not parts.netloc:
            raise _refused(uri, "no broker is named")
        if "@" in parts.netloc:
            raise SettingsError(
                "a user does not belong in the address of a stream", where=parts.netloc.rpartition("@")[2],
                why="addresses are printed", fix=f"?sasl.username=… and the password in {PASSWORD}",
            )  # fmt: skip
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(set(options) - {*_OPTIONS}):
            raise _refused(uri, f"option {unknown[0]!r} is not one of {', '.join(_OPTIONS)}")
        replicas = _positive(uri, "replicas", options["replicas"]) if "replicas" in options else cls.replicas
        prefix = checked_name(parts.path.strip("/") or cls.prefix, of="first part of topics")
        client = {name: options[name] for name in _CLIENT if name in options}
        return cls(parts.netloc, prefix, replicas, client)

    def properties(self, **own: str | int | bool) -> dict[str, Any]:
        """What a client is made with: where the brokers are, and ``own`` with ``_`` for dots."""
        secret = os.environ.get(PASSWORD)
        return {
            "bootstrap.servers": self.brokers,
            "client.id": "headrace",
            "error_cb": self.heard,
            "log_level": _CRITICAL,  # else each failed connection is a line on standard error
            "reconnect.backoff.ms": _BACKOFF_MS,
            "reconnect.backoff.max.ms": 1000,
            **self.client,
            **({"sasl.password": secret} if secret else {}),
            **{name.replace("_", "."): value for name, value in own.items()},
        }


def _positive(uri: str, name: str, text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise _refused(uri, f"{name} is {text!r} where a number from 1 is due")
    return int(text)


def _refused(uri: str, why: str) -> SettingsError:
    return SettingsError(f"stream {uri!r} names no Kafka cluster", why=why, fix=f'for example stream = "{_EXAMPLE}"')
