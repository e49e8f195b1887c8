"""How other threads have something done on the event loop, where the data plane lives."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from headrace.errors import Unavailable
from headrace.serving.scorer import Post

_WITHIN_S = 10.0


class EventLoop:
    """Calls on an event loop, from any other thread.

    Args:
        post: Runs a callable on it (``loop.call_soon_threadsafe``).
    """

    def __init__(self, post: Post) -> None:
        self._post = post

    def tell(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Have it done some time soon, in order."""
        try:
            self._post(call, *arguments)
        except RuntimeError as error:
            raise Unavailable("the server is closing", why=str(error)) from error

    def call(self, call: Callable[[], None]) -> None:
        """Have it done and wait for that; what it raises is raised here.

        Raises:
            Unavailable: It did not come to it in time; it will not be done later either.
        """
        done: Future[None] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                call()
            except Exception as error:  # noqa: BLE001 - told to the thread that asked
                done.set_exception(error)
            else:
                done.set_result(None)

        self.tell(run)
        try:
            done.result(_WITHIN_S)
        except TimeoutError:
            if done.cancel():
                raise Unavailable("the event loop is busy", why=f"for more than {_WITHIN_S:g} s") from None
            done.result()
