import subprocess
import sys

from headrace.serving.scratch import Scratch

DIES = """
import os, pathlib, sys
from headrace.serving.scratch import Scratch
(Scratch(pathlib.Path(sys.argv[1])).path / "model.onnx").write_text("a copy")
os._exit(0)
"""


def test_what_a_process_left_that_died_goes_and_what_one_has_that_lives_stays(tmp_path):
    home = tmp_path / "models"
    living = Scratch(home)
    (living.path / "model.onnx").write_text("a copy")
    subprocess.run([sys.executable, "-c", DIES, str(home)], check=True, timeout=60)
    assert len([path for path in home.iterdir() if path.is_dir()]) == 2
    later = Scratch(home)
    assert {path for path in home.iterdir() if path.is_dir()} == {living.path, later.path}
    assert (living.path / "model.onnx").exists()
    for scratch in (living, later):
        scratch.close()
    assert [path.name for path in home.iterdir()] == [".lock"]
