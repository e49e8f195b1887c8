import pytest

from headrace.errors import SettingsError
from headrace.serving.folder_settings import FolderSettings, Written, model_settings, read_settings


def test_without_a_file_the_newest_version_is_served(tmp_path):
    assert read_settings(tmp_path) == FolderSettings(poll_s=1.0, models={}, only_named=False)
    found = read_settings(tmp_path).of("any")
    assert found.chosen([5, 3, 1]) == [5]
    assert (found.endpoint.deadline_s, found.endpoint.policy) == (5.0, "availability-preserving")


@pytest.mark.parametrize(
    ("versions", "chosen"), [(1, [5]), (2, [5, 3]), (9, [5, 3, 1]), ("all", [5, 3, 1]), ([1, 3, 4], [3, 1])]
)
def test_versions_are_a_count_a_list_or_all(versions, chosen):
    assert model_settings("any", {"versions": versions}).chosen([5, 3, 1]) == chosen


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("poll_s =", "cannot be read"),
        ("poll = 3", "did you mean 'poll_s'"),
        ("poll_s = 0", "seconds are due"),
        ("poll_s = true", "seconds are due"),
        ("model = 3", "no table"),
        ("[model.wine]\nversion = 3", r"\[model.wine\].*did you mean 'versions'"),
        ("[model.wine]\nschedule = []", "unknown setting 'schedule'"),
        ("[model.wine]\nversions = 0", "versions is 0"),
        ("[model.wine]\nversions = true", "versions is True"),
        ("[model.wine]\nversions = []", r"versions = 2 for the newest two"),
        ('[model.wine]\nversions = "latest"', "versions is 'latest'"),
        ("[model.wine]\nlabels = { stable = 0 }", "versions are numbers"),
        ("[model.wine]\nlabels = { 'a b' = 1 }", "label 'a b' is not allowed"),
        ("[model.wine]\nmax_batch_rows = 0", "max_batch_rows is 0"),
        ("[model.wine]\ndeadline_ms = 0", r"deadline_ms is 0.*\[model.wine\]"),
        ("[model.wine]\ndeadline_ms = 5\nmax_wait_ms = 5", "deadline_ms is too short"),
        ('[model.wine]\npolicy = "fast"', r"policy is 'fast'.*\[model.wine\]"),
        ("[model.'two words']\nversions = 1", "'two words' is not allowed"),
    ],
)
def test_what_is_wrong_is_said_with_where(tmp_path, text, says):
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        read_settings(tmp_path)


def test_a_file_counts_once_it_was_the_same_at_two_looks(tmp_path):
    file = tmp_path / "models.toml"
    written = Written(tmp_path)
    assert not written.turned()
    file.write_text("poll_s = 2")
    assert not written.turned()
    file.write_text("poll_s = 20")
    assert not written.turned()
    assert written.turned()
    assert written.settings.poll_s == 20.0
    file.write_text("poll_s = no")
    assert [written.turned() for _ in range(3)] == [False, True, False]
    assert "cannot be read" in written.wrong
    assert written.settings.poll_s == 20.0
    file.unlink()
    assert [written.turned() for _ in range(3)] == [False, True, False]
    assert (written.wrong, written.settings) == ("", FolderSettings())


def test_a_link_is_no_file_of_settings(tmp_path):
    (tmp_path / "elsewhere.toml").write_text("poll_s = 2")
    (tmp_path / "models.toml").symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(SettingsError, match="link"):
        read_settings(tmp_path)
