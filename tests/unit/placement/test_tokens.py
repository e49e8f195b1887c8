import os
import stat

import pytest

from headrace.errors import SettingsError
from headrace.placement.tokens import NAME, control_token


def test_a_token_is_made_once_and_private(tmp_path):
    before = os.umask(0o000)
    try:
        token = control_token(tmp_path)
    finally:
        os.umask(before)
    assert len(token) >= 43
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert control_token(tmp_path) == token
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_token_that_others_can_read_or_guess_is_refused(tmp_path):
    control_token(tmp_path)
    (tmp_path / NAME).chmod(0o640)
    with pytest.raises(SettingsError, match="not private"):
        control_token(tmp_path)
    (tmp_path / NAME).chmod(0o600)
    (tmp_path / NAME).write_text("1234")
    with pytest.raises(SettingsError, match="too short"):
        control_token(tmp_path)
