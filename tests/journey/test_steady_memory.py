"""A gateway that has answered very many requests is as large as one that has answered few."""

import os

import numpy as np
import pytest
from load import Load
from mixed_project import WINE, MixedProject
from server_process import serving

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
REQUESTS = 1_000_000 if SOAK else 200_000  # several segments of the log, of which the newest has its keys in memory
BEFORE = 60_000  # until caches are full
SAMPLES = 25
CONNECTIONS = 16
WITHIN_S = 1800.0 if SOAK else 60.0
SLOPE_MIB = 1.0
MOVED = 2  # a machine that stutters moves the model into a thread of its own, and another one measures whether for good


def _slope(points):
    """The median slope between any two points (Theil and Sen): a leak is in every one, a cache that fills in few."""
    first, second = np.triu_indices(len(points), 1)
    run, rise = (points[second] - points[first]).T
    return float(np.median(rise / run))


@pytest.mark.slow
@pytest.mark.parametrize("log", ["off", "durable"])
def test_memory_files_and_threads_stay_what_they_are(tmp_path, figure, log):
    project = MixedProject(tmp_path)
    project.deploy(project.register(0.5), log=log, deadline_s=5.0)
    project.close()
    with serving(tmp_path) as server:
        server.client.close()  # it would be cut as idle in the middle of this
        load = Load(server.port, [WINE], connections=CONNECTIONS, keep=False, most=BEFORE + REQUESTS)
        load.wait_for(BEFORE, WITHIN_S)
        files, threads, sizes = server.files(), server.threads(), []
        for sample in range(SAMPLES + 1):
            load.wait_for(BEFORE + REQUESTS * sample // SAMPLES, WITHIN_S)
            sizes.append((load.done, server.memory_kib()))
            if sample < SAMPLES:  # its connections are still open
                assert server.files() == files
                assert server.threads() <= threads + MOVED
        assert dict(load.end()) == {(200, "wine@1"): BEFORE + REQUESTS}
        slope_mib = _slope(np.array(sizes, float)) * 100_000 / 1024
        figure(f"serving.rss_slope_mib_per_100k, log {log}", slope_mib)
        assert slope_mib < SLOPE_MIB, sizes
