"""Whether all who write a log mask its columns with one key: equal cells have equal hashes only then."""

import hashlib
import socket
from contextlib import suppress
from datetime import UTC, datetime

from headrace.errors import Unavailable
from headrace.monitoring.alerts import KIND as ALERT
from headrace.monitoring.alerts import raise_once
from headrace.storage.ledger import Fact, Ledger

KIND = "mask.key"
"""The fact that a gateway masks columns with a key, by its digest."""


def masked_with(ledger: Ledger, key: bytes) -> None:
    """Record with which key a gateway masks; an alert where others did with another.

    Args:
        ledger: Where both are recorded.
        key: The secret. It has 256 random bits, so that nobody can find it from its digest.
    """
    with suppress(Unavailable):  # the next deployment of an endpoint that masks says the same
        _record(ledger, key)


def _record(ledger: Ledger, key: bytes) -> None:
    digest, host = hashlib.sha256(key).hexdigest(), socket.gethostname()
    known = ledger.query(KIND)
    if known and known[-1].body["sha256"] == digest:
        return
    (own,) = ledger.append([Fact(KIND, "log", {"sha256": digest, "host": host})])
    # Looked at after that: of two that begin at once the one with the greater number sees the other, and it alone.
    known = [fact for fact in ledger.query(KIND) if fact.seq < own.seq]
    if known and known[-1].body["sha256"] != digest:
        message = (
            f"columns of request logs are masked with another key on {host} than on {known[-1].body['host']}: equal "
            "cells have unequal hashes; copy .headrace/mask.key from one host to the others, unless that was meant"
        )
        began = datetime.now(UTC).isoformat(timespec="seconds")
        body = {"about": "mask", "window": began, "message": message}
        raise_once(ledger, [Fact(ALERT, "log", body, unique=f"mask {known[-1].body['sha256']} {digest}")])
