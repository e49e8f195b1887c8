"""The pipeline in the README runs as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _headrace(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_pipeline_of_the_readme_registers_a_model(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    _headrace("init", ".", cwd=tmp_path)
    (tmp_path / "pipeline.py").write_text(code)
    _headrace("run", "returns", cwd=tmp_path)
    (model,) = json.loads(_headrace("models", "ls", "--json", cwd=tmp_path))
    assert model["model"] == "returns@1"
