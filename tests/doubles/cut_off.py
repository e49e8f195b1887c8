"""A network between a client and a server, which is cut when a test says so."""

import contextlib
import selectors
import socket
import threading


class CutOff:
    """Passes bytes on to a port of 127.0.0.1.

    Args:
        port: The server's.

    Attributes:
        port: Its own.
        swallow: How many answers are still to be swallowed: the connection is cut instead, after the server sent each.
        asked: A text; only an answer to what contains it is swallowed.
        swallowed: How many were.
    """

    def __init__(self, port, asked):
        self._to, self.asked = port, asked
        self.swallow = self.swallowed = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client):
        server = socket.create_connection(("127.0.0.1", self._to))
        ways, due = {client: server, server: client}, False
        with client, server, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            for each in ways:
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 16)
                    if not data:
                        return
                    if key.fileobj is client:
                        due = self.asked in data
                    elif due and self.swallow:
                        self.swallow, self.swallowed = self.swallow - 1, self.swallowed + 1
                        return
                    ways[key.fileobj].sendall(data)
