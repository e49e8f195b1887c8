"""What ends a worker when its server has gone, however that went and whatever the worker is in the middle of.

A thread that waits for the end of a connection does not run while compiled code holds the interpreter. The kernel does:
it kills whoever asked for that when the last writer of a pipe is gone, and the only writer is the server.
"""

import fcntl
import os
import signal
import sys
from functools import cache


@cache
def lifeline() -> int:
    """File descriptor that this process's workers inherit and hold; it is open at the other end until we end."""
    reader, _writer = os.pipe()
    return reader


def hold(inherited: int) -> None:
    """Have the kernel kill this process when the server ends (Linux); end now when it has.

    Args:
        inherited: The server's ``lifeline``.
    """
    if sys.platform != "linux":
        return
    # Opened anew: whom to signal belongs to an open file, and all workers inherit the same one.
    own = os.open(f"/proc/self/fd/{inherited}", os.O_RDONLY | os.O_NONBLOCK)
    os.close(inherited)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    try:
        os.read(own, 1)
    except BlockingIOError:  # somebody could still write: the server is there
        return
    os._exit(1)
