import os
import subprocess
import sys

from headrace.placement.memory import PeakMemory, pss_bytes, tree_bytes


def test_a_childs_memory_counts():
    code = "x = bytearray(64 << 20); print(len(x), flush=True); input()"
    before = tree_bytes(os.getpid())
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert tree_bytes(os.getpid()) - before >= 64 << 20
        child.communicate(b"\n")


def test_the_peak_outlives_the_child():
    code = "import time; x = bytearray(64 << 20); print(len(x), flush=True); input()"
    with PeakMemory(every_s=0.005) as memory:
        before = tree_bytes(os.getpid())
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            while memory.peak_bytes - before < 60 << 20:
                assert child.poll() is None
            child.communicate(b"\n")
    assert memory.peak_bytes - before >= 60 << 20


def test_a_process_that_is_gone_takes_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert tree_bytes(child.pid) == 0


def test_a_process_has_a_share_of_memory_until_it_ends():
    code = "x = bytearray(64 << 20); print(len(x), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert 64 << 20 <= pss_bytes(child.pid) < 1 << 30
        child.communicate(b"\n", timeout=30)
    assert pss_bytes(child.pid) is None
