import os
import subprocess
import sys

from headrace.placement.processes import alive, start_time


def test_a_process_that_ended_does_not_run_even_before_it_is_waited_for():
    assert alive(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert alive(child.pid)
        assert int(start_time(child.pid)) >= int(start_time(os.getpid())) > 0
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and may still be asked how
        assert not alive(child.pid)
    assert not alive(child.pid)
    assert start_time(child.pid) == ""
