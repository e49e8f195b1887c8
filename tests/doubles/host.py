"""A host of a project that lies on several: folders of its own, an address of its own, and servers shared with others."""

from contextlib import ExitStack, contextmanager
from pathlib import Path

from server_process import serving
from wine_project import WineProject
from worker_process import working

from headrace.client import Client
from headrace.placement.tokens import control_token


class Host(WineProject):
    """What one machine has of a project: its settings, and what it keeps for itself.

    Args:
        root: Of the project there.
        address: Where its gateways listen.
        settings: Its headrace.toml: what it shares with the others.
    """

    def __init__(self, root, address, settings):
        root.mkdir()
        super().__init__(root, settings)
        self.address = address
        self.home = root / ".headrace"
        self._running = ExitStack()

    @property
    def token(self):
        """That of who owns the project here."""
        return control_token(self.home)

    def door(self):
        """A gateway, which is asked with this host's token."""
        self.home.mkdir(exist_ok=True)
        asked = ("--host", self.address, "--expose-unencrypted")
        return self._running.enter_context(serving(self.root, *asked, client=self._client))

    def worker(self, endpoint):
        return self._running.enter_context(working(self.root, endpoint))

    def opened(self, pid):
        """Paths of files that a process of this host has open or mapped."""
        process = Path(f"/proc/{pid}")
        mapped = {line.split(maxsplit=5)[5] for line in (process / "maps").read_text().splitlines() if "/" in line}
        return mapped | {str(path.readlink()) for path in (process / "fd").iterdir() if path.is_symlink()}

    def close(self):
        self._running.close()
        super().close()

    def _client(self, url):
        return Client(url, token=self.token, unencrypted=True)


@contextmanager
def hosts(folder, settings, count=3):
    """So many hosts, and nothing of any left running in the end."""
    with ExitStack() as closing:
        made = [Host(folder / name, f"127.0.0.{at}", settings) for at, name in enumerate("abcdefg"[:count], start=2)]
        for host in made:
            closing.callback(host.close)
        yield made
