"""What a soak sees of the server from outside, again and again: memory, open files, threads."""

import threading

import numpy as np

_LOOKS = 120


class Watch:
    """A thread that looks at regular times.

    Args:
        server: The process.
        traffic: What is sent to it.
        seconds: How long the soak takes.

    Attributes:
        seen: Requests answered so far, KiB, files and threads, at each look.
    """

    def __init__(self, server, traffic, seconds):
        self._server, self._traffic = server, traffic
        self.seen = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(seconds / _LOOKS,))
        self._thread.start()

    def _run(self, every_s):
        while not self._stop.wait(every_s):
            self.seen.append((self.requests, self._server.memory_kib(), self._server.files(), self._server.threads()))

    @property
    def requests(self):
        return sum(sum(traffic.load.seen.values()) for traffic in self._traffic)

    def stop(self):
        self._stop.set()
        self._thread.join()

    def slope_mib(self):
        """MiB of growth per 100,000 requests after the first quarter, as the median between any two looks."""
        points = np.array(self.seen, float)[len(self.seen) // 4 :, :2]
        first, second = np.triu_indices(len(points), 1)
        run, rise = (points[second] - points[first]).T
        return float(np.median(rise / run)) * 100_000 / 1024
