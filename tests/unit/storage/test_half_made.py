import subprocess
import sys
from pathlib import Path

import pytest

from headrace.storage.half_made import half_made

HOLDER = """
import sys
from pathlib import Path
from headrace.storage.half_made import half_made

with half_made(Path(sys.argv[1]), "put-") as folder:
    (folder / "data").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process with a folder, and the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_goes_with_its_block(tmp_path):
    with half_made(tmp_path / "scratch", "put-") as folder:
        (folder / "data").write_text("half")
    assert not folder.exists()
    with pytest.raises(ValueError, match="broken"), half_made(tmp_path / "scratch", "put-") as folder:
        raise ValueError("broken")
    assert not folder.exists()


def test_one_that_somebody_holds_stays_and_one_of_a_killed_process_goes(tmp_path, holder):
    process, theirs = holder
    with half_made(tmp_path, "predict-") as own:
        assert (theirs / "data").exists()
        process.kill()
        process.wait()
        with half_made(tmp_path, "put-") as other:
            assert not theirs.exists()
            assert sorted(own.parent.iterdir()) == sorted([own, other])


def test_without_a_place_it_is_the_systems():
    with half_made(None, "put-") as folder:
        assert folder.is_dir()
    assert not folder.exists()
