"""The client library's errors in our words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from headrace.errors import HeadraceError, SettingsError, Unauthorized, Unavailable

_DENIED = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - the library's name for it
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_LATELY_S = 10.0
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class Heard:
    """What a client's connections complained of: why nobody answers, where all that is known is that nobody does."""

    def __init__(self) -> None:
        self._last = 0.0, ""

    def __call__(self, error: KafkaError) -> None:
        """Take up what the client library says, in whichever thread."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the library's name for it
            self._last = time.monotonic(), error.str()

    def lately(self) -> str:
        """The last of it, as the end of a sentence; nothing when that was long ago."""
        at, said = self._last
        return f": {said}" if said and time.monotonic() - at < _LATELY_S else ""


def fault(error: KafkaError, where: str) -> HeadraceError:
    """What ``error`` means to the caller; all but the last two kinds may go away by themselves."""
    code, why = error.code(), error.str()
    if code in _DENIED:
        fix = "let this user create, describe, write and read the topics"
        return Unauthorized("Kafka does not let us", where=where, why=why, fix=fix)
    if code in _TOO_LARGE:
        fix = "raise max.message.bytes of the topic to Kafka's default of 1 MiB"
        return SettingsError("Kafka takes no message of this size", where=where, why=why, fix=fix)
    if code == KafkaError._INVALID_ARG:  # noqa: SLF001 - the library's name for it
        return SettingsError("the Kafka client cannot be made", where=where, why=why, fix="docs/reference/engines.md")
    return silent(where, why)


def silent(where: str, why: str) -> Unavailable:
    """The brokers did not do in time what was asked."""
    fix = "start the brokers, or correct the setting stream"
    return Unavailable("Kafka cannot be written or read", where=where, why=why, fix=fix)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what the library raises inside as ours."""
    try:
        yield
    except KafkaException as error:
        raise fault(error.args[0], where) from error
