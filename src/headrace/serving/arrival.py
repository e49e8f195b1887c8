"""A request as it came, whatever the protocol: what the log archives, and where a key may be found."""

from typing import NamedTuple, Protocol


class Raw(NamedTuple):
    """The very bytes.

    Attributes:
        target: Path of the request, or the kind of message over gRPC.
        content_type: As sent; empty when none was.
        body: Unpacked where it came compressed.
    """

    target: str
    content_type: str
    body: bytes


class Arrival(Protocol):
    """A request as it came."""

    def header(self, name: str) -> str:
        """A header (over gRPC a metadata key) by its lower-case name; empty when it was not sent."""

    @property
    def raw(self) -> Raw:
        """Its bytes."""
