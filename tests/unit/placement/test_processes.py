import os
import subprocess
import sys
from pathlib import Path

from headrace.placement.processes import alive, ended, own_life, start_time


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


def test_a_life_ends_with_its_process_or_its_machines_uptime():
    here = own_life()
    assert not ended(here)
    assert ended({**here, "pid": 2**22 + 1})
    assert ended({**here, "boot": "before"})
    assert not ended({**here, "host": "another", "pid": 2**22 + 1})


def test_of_a_number_of_another_pid_namespace_nobody_knows():
    here = own_life()
    assert here["pids"] == str(Path("/proc/self/ns/pid").readlink())
    within = {**here, "pids": "pid:[1]", "pid": 2**22 + 1}  # a container with the host's network, and so its name
    assert not ended(within)
    assert ended({**within, "boot": "before"})
    del within["pids"]
    assert ended(within)
