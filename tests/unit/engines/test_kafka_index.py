import numpy as np
import pytest

from headrace.engines.kafka.batches import offset_of
from headrace.engines.kafka.index import KEEP, KeyIndex

EACH = 100


def follow(index, start, end):
    """Take up messages of ``EACH`` records with keys of their own."""
    for message in range(start, end):
        index.add(message, [f"{message}.{n}" for n in range(EACH)], offset_of(message))
    index.reach(end, 0)


def place(message, number):
    return [offset_of(message) + number]


def test_what_was_followed_is_found_by_the_next_process(tmp_path):
    follow(KeyIndex(tmp_path), 0, 50)
    index = KeyIndex(tmp_path)
    assert index.covered == 50
    assert index.find("7.3") == place(7, 3)
    assert index.find("50.0") == []
    follow(index, 50, 51)
    assert index.find("50.0") == place(50, 0)


def test_a_few_records_are_worth_no_file(tmp_path):
    follow(KeyIndex(tmp_path), 0, KEEP // EACH - 1)
    assert KeyIndex(tmp_path).covered == 0


def test_a_key_may_repeat(tmp_path):
    index = KeyIndex(tmp_path)
    index.add(0, ["a", "b", "a"], offset_of(0))
    index.add(1, ["a"], offset_of(1))
    assert index.find("a") == [0, 2, offset_of(1)]
    index.save()
    assert KeyIndex(tmp_path).find("a") == [0, 2, offset_of(1)]


def test_processes_side_by_side_share_what_each_has_read(tmp_path):
    here, there = KeyIndex(tmp_path), KeyIndex(tmp_path)
    follow(here, 0, 60)
    follow(there, 0, 100)  # writes on from 60, where the other's file ends
    follow(here, 60, 200)  # knows nothing of 60 to 100 on disk until it writes
    follow(there, 100, 250)
    for index in (here, there, KeyIndex(tmp_path)):
        assert [index.find(f"{m}.1") for m in (0, 59, 60, 99, 100, 199)] == [
            place(m, 1) for m in (0, 59, 60, 99, 100, 199)
        ]
    assert KeyIndex(tmp_path).covered == 250
    assert KeyIndex(tmp_path).find("249.99") == place(249, 99)


def test_runs_are_merged(tmp_path):
    index = KeyIndex(tmp_path)
    for start in range(0, 2000, 50):
        follow(index, start, start + 50)
    assert len(list(tmp_path.glob("*.run"))) < 10
    assert KeyIndex(tmp_path).find("0.0") == place(0, 0)
    assert KeyIndex(tmp_path).find("1999.0") == place(1999, 0)


def test_runs_of_what_the_topic_forgot_are_deleted(tmp_path):
    index = KeyIndex(tmp_path)
    follow(index, 0, 400)
    follow(index, 400, 450)
    index.reach(450, oldest=420)
    assert index.find("100.0") == []
    assert index.find("430.0") == place(430, 0)
    assert KeyIndex(tmp_path).find("430.0") == place(430, 0)


def test_a_topic_without_its_end_is_followed_anew(tmp_path):
    here, there = KeyIndex(tmp_path), KeyIndex(tmp_path)
    follow(here, 0, 100)
    follow(there, 0, 100)
    here.restart(0)
    assert (here.covered, here.find("7.3")) == (0, [])
    follow(there, 100, 150)  # finds nothing on disk that this could follow
    assert there.covered == 0
    follow(here, 0, 60)
    assert KeyIndex(tmp_path).find("59.0") == place(59, 0)


@pytest.mark.parametrize("damage", [b"", b"123"])
def test_a_damaged_run_is_followed_anew(tmp_path, damage):
    follow(KeyIndex(tmp_path), 0, 100)
    (path,) = tmp_path.glob("*.run")
    path.write_bytes(np.random.default_rng(0).bytes(7) + damage)
    index = KeyIndex(tmp_path)
    assert index.covered == 0
    follow(index, 0, 100)
    assert KeyIndex(tmp_path).find("99.0") == place(99, 0)
