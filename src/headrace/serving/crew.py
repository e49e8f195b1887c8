"""A few threads that do what they are given, in order; they hold up no exit."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

Task = Callable[[], None]


class Crew:
    """Daemon threads: a task that hangs costs one of them, and the process still ends when it is told to.

    Args:
        size: How many.
        name: Of the threads.
        report: Told of what a task raised.
    """

    def __init__(self, size: int, name: str, report: Callable[[Exception], None]) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._report = report
        self._threads = [threading.Thread(target=self._run, name=f"{name} {n}", daemon=True) for n in range(size)]

    def start(self) -> None:
        """Begin to take tasks."""
        for thread in self._threads:
            thread.start()

    def put(self, task: Task) -> None:
        """Have a task done, after those put before."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Take no more tasks after those that were put; nobody waits for that."""
        for _ in self._threads:
            self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - the next task is another endpoint's
                self._report(error)
