"""Runs a command and says, in a last line of its own, how many KiB of memory it took at most.

    python peak.py COMMAND ...

It is small itself: what a process takes before it becomes another program counts as that one's.
"""

import os
import subprocess
import sys

if __name__ == "__main__":
    process = subprocess.Popen(sys.argv[1:])
    _, status, used = os.wait4(process.pid, 0)
    sys.stdout.write(f"\n{used.ru_maxrss}\n")
    sys.exit(os.waitstatus_to_exitcode(status))
