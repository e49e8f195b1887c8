"""The mirror runs beside the work: a process of its own, because a tracking server's client takes seconds to import.

``python -m headrace.sdk.mirror <project>`` writes what is pending and ends.
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.settings import load_settings
from headrace.training.mirror import flush, pending

if TYPE_CHECKING:
    from headrace.journey.platform import Platform


def start(platform: "Platform") -> "subprocess.Popen[bytes] | None":
    """Begin to mirror what is pending, in a process of its own; None when there is nothing to do or no mirror.

    Nobody needs to wait for it: what it does not finish is pending for the next.
    """
    tracking = platform.tracking()
    if tracking is None or not pending(platform.ledger(), tracking.address()):
        return None
    log = platform.home / "mlflow" / "mirror.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(platform.settings.root)]
    with log.open("ab") as written:
        return subprocess.Popen(  # noqa: S603 - a list, no shell
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True
        )


def run(platform: "Platform") -> int:
    """Mirror what is pending, here; return how many runs were written."""
    tracking = platform.tracking()
    return flush(platform.ledger(), tracking) if tracking is not None else 0


def main(root: str) -> None:
    """Mirror a project; a second process that starts meanwhile waits and then finds nothing to do."""
    import fcntl

    from headrace.assembly import open_platform, project_home

    platform = open_platform(load_settings(Path(root)))
    lock = project_home(platform.settings) / "mlflow" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run(platform)
    platform.close()


if __name__ == "__main__":
    main(sys.argv[1])
