import sqlite3

import pytest

from headrace.errors import IntegrityError, NameRefused
from headrace.models.aliases import Move, aliases, move, verify


def test_the_last_move_of_an_alias_counts(ledger):
    move(ledger, "wine", Move("champion", 1))
    move(ledger, "wine", Move("challenger", 2))
    move(ledger, "wine", Move("champion", 3, who="ada", why="better", gates=("auc",)))
    move(ledger, "cider", Move("champion", 9))
    assert aliases(ledger, "wine") == {"champion": 3, "challenger": 2}
    assert aliases(ledger, "beer") == {}


def test_moving_to_where_it_points_adds_nothing(ledger):
    first = move(ledger, "wine", Move("champion", 1))
    move(ledger, "wine", Move("challenger", 2))
    assert move(ledger, "wine", Move("champion", 1)).seq == first.seq
    assert verify(ledger, "wine") == 2


def test_an_alias_has_a_proper_name(ledger):
    with pytest.raises(NameRefused):
        move(ledger, "wine", Move("the champion", 1))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE facts SET body = replace(body, 'ada', 'eve') WHERE seq = 2",
        "DELETE FROM facts WHERE seq = 2",
        "UPDATE facts SET body = (SELECT body FROM facts WHERE seq = 1) WHERE seq = 3",
    ],
)
def test_altered_history_is_noticed(ledger, tmp_path, damage):
    for version in (1, 2, 3):
        move(ledger, "wine", Move("champion", version, who="ada"))
    assert verify(ledger, "wine") == 3
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(IntegrityError, match="wine was altered"):
        verify(ledger, "wine")
