"""A project moves between a file and PostgreSQL by its backup."""

import subprocess
import sys

import pytest
from wine_project import WineProject

from headrace.assembly import open_platform
from headrace.errors import Refused
from headrace.journey.backup import backup, restore
from headrace.models import aliases, registry
from headrace.models.aliases import Move, move
from headrace.settings import load_settings
from headrace.storage.ledger import Fact

pytestmark = pytest.mark.service

MORE = 1200
"""Facts besides: more than one statement takes."""


@pytest.fixture
def laptop(tmp_path):
    (tmp_path / "laptop").mkdir()
    opened = WineProject(tmp_path / "laptop")
    for version in (opened.register(0.5), opened.register(1.5)):
        move(opened.platform.ledger(), "wine", Move("champion", version.version))
    opened.deploy("wine@2")
    opened.platform.ledger().append([Fact("run.step", f"run-{n}", {"n": n, "text": "ü\x00"}) for n in range(MORE)])
    yield opened
    opened.close()


def state(platform):
    """Everything that must be alike."""
    stores = platform.stores()
    models = {str(version): version.digest for version in registry.versions(stores.ledger)}
    return (
        [vars(f) for f in stores.ledger.query("*")],
        models,
        aliases.verify(stores.ledger, "wine"),
        stores.files.list(""),
    )


def test_from_a_laptop_to_postgresql_and_back(laptop, postgres, tmp_path):
    backup(laptop.platform.stores(), tmp_path / "laptop.backup")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "headrace.toml").write_text(f'[env.cluster]\nledger = "{postgres.uri()}"\n')
    command = [sys.executable, "-m", "headrace", "restore", "../laptop.backup"]
    environment = {"HEADRACE_ENV": "cluster", "PATH": ""}
    subprocess.run(command, cwd=shared, env=environment, check=True, capture_output=True, timeout=60)
    platform = open_platform(load_settings(shared, {"env": "cluster"}))
    assert state(platform) == state(laptop.platform)
    with pytest.raises(Refused, match="not empty"):
        restore(platform.stores(), tmp_path / "laptop.backup")
    backup(platform.stores(), tmp_path / "shared.backup")
    (tmp_path / "again").mkdir()
    again = WineProject(tmp_path / "again")
    restore(again.platform.stores(), tmp_path / "shared.backup")
    assert state(again.platform) == state(laptop.platform)
    assert again.platform.ledger().append([Fact("alert", "wine")])[0].seq == len(state(laptop.platform)[0]) + 1
    again.close()
    platform.close()
