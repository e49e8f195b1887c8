"""Whether a server is ready: all that it is to serve at its start, and what it served from then on."""

from collections.abc import Collection, Mapping


class Readiness:
    """What has been asked of a server so far.

    Attributes:
        begun: Whether it was ready once.
    """

    def __init__(self) -> None:
        self.begun = False
        self._unsaid = 0
        self._served: set[str] = set()

    def expect(self, sources: int) -> None:
        """So many sources more, or less, have still to say what there is: a start is not over before they have."""
        self._unsaid += sources

    def serves(self, name: str) -> None:
        """An endpoint serves."""
        self._served.add(name)

    def forget(self, name: str) -> None:
        """An endpoint is not there any more."""
        self._served.discard(name)

    def holds(self, live: Mapping[str, object | None], unloaded: Collection[str]) -> bool:
        """Whether the server is ready.

        Args:
            live: Every endpoint with what serves it, None where nothing does.
            unloaded: Endpoints that were told to be unloaded.
        """
        due = {name: serving for name, serving in live.items() if not self.begun or name in self._served}
        return bool(due) and not self._unsaid and all(serving or name in unloaded for name, serving in due.items())
