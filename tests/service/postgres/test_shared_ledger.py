"""A ledger on a real PostgreSQL: many writers, lost answers, servers that die and hang, and who may."""

import os
import threading
import time

import pytest
from cut_off import CutOff
from psycopg import sql

from headrace.engines.postgres.address import Address
from headrace.engines.postgres.connection import Bounds, Connection
from headrace.engines.postgres.ledger import PostgresLedger
from headrace.errors import Conflict, SettingsError, Unauthorized, Unavailable, UsageError
from headrace.storage.ledger import Fact

pytestmark = pytest.mark.service

WRITERS, BATCH = 16, 5
FACTS = 100_000 // (1 if os.environ.get("HEADRACE_SOAK") else 20)
HASTY = Bounds(silent_s=0.3, busy_s=2.0, patience_s=0.5)


@pytest.fixture
def opened():
    """Opens ledgers, each as if in a process of its own; closed at the end."""
    ledgers = []

    def open_one(uri, bounds=None):
        ledgers.append(PostgresLedger(Address.parse(uri), bounds or Bounds()))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


def test_a_reader_that_asks_for_what_is_newer_misses_nothing_of_16_writers(postgres, opened, figure):
    uri = postgres.uri()
    reading, polled, failed = opened(uri), [], []
    each = FACTS // WRITERS // BATCH
    reading.query("*")

    def write(name):
        ledger = opened(uri)
        try:
            for n in range(each):
                ledger.append([Fact("run.step", name, {"n": n * BATCH + k}) for k in range(BATCH)])
        except Exception as error:  # noqa: BLE001 - counted
            failed.append(error)

    writers = [threading.Thread(target=write, args=(str(n),)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    going = True
    while going:
        going = any(writer.is_alive() for writer in writers)  # before the last look
        polled += reading.query("run.*", after=polled[-1].seq if polled else 0)
    due = each * WRITERS * BATCH
    figure("runs.ledger_locked_or_lost, PostgreSQL", len(failed) + due - len(polled))
    assert failed == []
    assert [fact.seq for fact in polled] == list(range(1, due + 1))
    for n in range(WRITERS):
        assert [fact.body["n"] for fact in polled if fact.subject == str(n)] == list(range(each * BATCH))


def test_an_append_whose_answer_is_lost_is_there_once(postgres, opened):
    uri, network = postgres.uri(), CutOff(postgres.port, b"INSERT INTO")
    ledger = opened(uri.replace(str(postgres.port), str(network.port)))
    ledger.append([Fact("alert", "x", {"n": -1})])
    written = []
    for n in range(20):
        network.swallow = n % 3
        mark = f"m{n}" if n % 2 else None
        written += ledger.append([Fact("alert", "x", {"n": n}, unique=mark), Fact("alert", "y", {"n": n})])
    network.close()
    assert network.swallowed == 19
    assert opened(uri).query("alert")[1:] == written


def test_the_server_says_when_whatever_a_host_takes_for_the_time(postgres, opened, monkeypatch):
    ledger = opened(postgres.uri())
    before = time.time()
    (early,) = ledger.append([Fact("alert", "x")])
    monkeypatch.setattr(time, "time", lambda: before - 86_400)
    (later, *_, last) = ledger.append([Fact("alert", "x")] * 501)
    monkeypatch.undo()
    assert before - 1 < early.at < later.at < last.at < time.time() + 1
    assert ledger.query("alert", newest=1) == [last]


def test_a_mark_that_somebody_else_took_while_the_answer_was_lost_is_a_conflict(postgres, opened):
    uri = postgres.uri()
    opened(uri).append([Fact("model.version", "wine", unique="wine@1")])
    network = CutOff(postgres.port, b"INSERT INTO")
    ledger = opened(uri.replace(str(postgres.port), str(network.port)))
    ledger.query("*")
    network.swallow = 1
    with pytest.raises(Conflict, match="wine@1"):
        ledger.append([Fact("model.version", "wine", unique="wine@1")])
    network.close()
    assert network.swallowed == 1
    assert len(opened(uri).query("*")) == 1


def test_a_large_batch_is_one_commit(postgres, opened):
    uri = postgres.uri()
    ledger, reading = opened(uri), opened(uri)
    facts = [Fact("run.step", str(n)) for n in range(1700)]
    ledger.append([Fact("model.version", "x", unique="x@1")])
    with pytest.raises(Conflict):
        ledger.append([*facts, Fact("model.version", "x", unique="x@1")])
    assert reading.query("run.step") == []
    written = ledger.append(facts)
    assert [fact.seq for fact in written] == list(range(2, 1702))
    assert reading.query("run.step") == written


def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged(postgres, opened):
    ledger = opened(postgres.uri())
    ledger.query("*")
    kept, going = [], threading.Event()

    def write():
        while not going.is_set():
            kept.extend(ledger.append([Fact("alias.moved", "wine", {"n": len(kept)})]))

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(2):
        standing = len(kept)
        until = time.monotonic() + 30
        while len(kept) < standing + 20 and time.monotonic() < until:
            going.wait(0.005)
        postgres.kill()
        postgres.start()
    going.set()
    writer.join(30)
    assert not writer.is_alive()
    found = ledger.query("alias.moved")
    assert len(kept) > 40
    assert found == kept


def test_a_server_that_hangs_is_given_up_and_found_again(postgres, opened):
    ledger = opened(postgres.uri(connect_timeout=2), HASTY)
    (before,) = ledger.append([Fact("alert", "x")])
    postgres.freeze()
    try:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=r"cannot be read.*has said nothing for .*start the server"):
            ledger.query("alert")
        with pytest.raises(Unavailable):
            ledger.append([Fact("alert", "never connected anew")])
        assert time.monotonic() - begun < 10
    finally:
        postgres.thaw()
    (after,) = ledger.append([Fact("alert", "y")])
    assert [fact.subject for fact in ledger.query("alert")] == ["x", "y"]
    assert (before.seq, after.seq) == (1, 2)


def test_what_a_server_was_asked_when_it_hung_is_said_to_be_unknown(postgres, opened):
    ledger = opened(postgres.uri(connect_timeout=2), HASTY)
    ledger.query("*")
    postgres.freeze()
    try:
        with pytest.raises(Unavailable, match="nobody knows whether the ledger took the facts"):
            ledger.append([Fact("alert", "x")])
    finally:
        postgres.thaw()


def test_who_waits_for_another_writer_waits_longer_than_for_a_server_that_hangs(postgres, opened):
    uri = postgres.uri()
    ledger = opened(uri, HASTY)
    ledger.query("*")
    with postgres.connect() as holder, holder.transaction():
        holder.execute(f"SELECT * FROM {ledger._tables._schema}.ledger FOR UPDATE")
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="others keep it busy"):
            ledger.append([Fact("alert", "x")])
        assert time.monotonic() - begun > HASTY.busy_s - 0.5
        assert ledger.query("alert") == []  # readers wait for nobody
    assert len(ledger.append([Fact("alert", "x")])) == 1


def test_a_server_that_was_never_there_is_said_at_once(opened, tmp_path):
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"PostgreSQL at 127.0.0.1:1/shop, schema s .* correct the setting ledger"):
        opened("postgresql://me@127.0.0.1:1/shop?schema=s").query("*")
    assert time.monotonic() - begun < 5


def test_projects_share_a_database(postgres, opened):
    one, other = opened(postgres.uri()), opened(postgres.uri())
    one.append([Fact("alert", "x")])
    assert other.query("*") == []
    assert other.append([Fact("alert", "y")])[0].seq == 1


def test_tables_of_a_newer_release_are_left_alone(postgres, opened):
    uri = postgres.uri()
    ledger = opened(uri)
    ledger.append([Fact("alert", "x")])
    with postgres.connect() as connection:
        connection.execute(f"UPDATE {ledger._tables._schema}.ledger SET version = 7")
    with pytest.raises(SettingsError, match=r"version 7 .* pip install --upgrade"):
        opened(uri).append([Fact("alert", "x")])


def test_what_postgresql_cannot_keep_is_the_callers(postgres, opened):
    ledger = opened(postgres.uri())
    with pytest.raises(UsageError, match="zero bytes"):
        ledger.append([Fact("alert", "x\x00y")])
    assert ledger.query("*") == []


def test_kinds_are_compared_by_code_point_whatever_the_database_does(postgres, opened):
    ledger = opened(postgres.uri())
    ledger.append([Fact(kind, "x") for kind in ("run.a", "Run.b", "rün.c", "run-d", "run.é")])
    assert [fact.kind for fact in ledger.query("run.*")] == ["run.a", "run.é"]
    # This server was built with the one collation: what another would do can only be read.
    asked = (
        "SELECT attname FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation"
        f" WHERE attrelid = '{ledger._tables._schema}.facts'::regclass AND collname = 'C' ORDER BY attname"
    )
    with postgres.connect() as connection:
        assert connection.execute(asked).fetchall() == [("kind",), ("mark",), ("subject",)]


@pytest.fixture(scope="module")
def guarded(postgres):
    """The server, with a user who needs a password."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'open-sesame'")
        connection.execute("GRANT CREATE ON DATABASE postgres TO guarded")
    return postgres


class TestPasswords:
    @pytest.fixture
    def uri(self, guarded, monkeypatch):
        monkeypatch.delenv("PGPASSWORD", raising=False)
        monkeypatch.setenv("PGPASSFILE", "/nonexistent")
        return guarded.uri().replace("headrace@", "guarded@")

    def test_none_is_refused(self, uri, opened):
        with pytest.raises(Unauthorized, match="PGPASSWORD"):
            opened(uri).query("*")

    def test_a_wrong_one_is_refused_and_not_told(self, uri, opened, monkeypatch):
        monkeypatch.setenv("PGPASSWORD", "let-me-in-please")
        with pytest.raises(Unauthorized) as raised:
            opened(uri).append([Fact("alert", "x")])
        seen, told = raised.value, ""
        while seen is not None:
            told, seen = told + str(seen) + repr(vars(seen)), seen.__cause__ or seen.__context__
        assert "let-me-in-please" not in told

    def test_the_environment_gives_it(self, uri, opened, monkeypatch):
        monkeypatch.setenv("PGPASSWORD", "open-sesame")
        assert opened(uri).append([Fact("alert", "x")])[0].seq == 1

    def test_a_file_gives_it(self, uri, opened, monkeypatch, tmp_path):
        file = tmp_path / "passwords"
        file.write_text("127.0.0.1:*:*:guarded:open-sesame\n")
        file.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(file))
        assert opened(uri).query("*") == []

    def test_a_user_who_may_not_is_told_what_to_grant(self, uri, opened, monkeypatch, postgres):
        monkeypatch.setenv("PGPASSWORD", "open-sesame")
        owned = postgres.uri()
        opened(owned).query("*")
        with pytest.raises(Unauthorized, match="what to grant"):
            opened(owned.replace("headrace@", "guarded@")).query("*")


def test_parameters_of_tls_reach_the_client_library(postgres, opened):
    with pytest.raises(Unavailable, match="SSL"):
        opened(postgres.uri(sslmode="require")).query("*")
    assert opened(postgres.uri(sslmode="prefer")).query("*") == []


def test_queries_of_pollers_use_an_index(postgres, opened, monkeypatch):
    ledger, asked, execute = opened(postgres.uri()), [], Connection.execute
    ledger.append([Fact(f"kind{n % 50}", f"s{n % 7}") for n in range(5000)])

    def recorded(self, query, params=None, **how):
        asked.append((query, params))
        return execute(self, query, params, **how)

    monkeypatch.setattr(Connection, "execute", recorded)
    assert len(ledger.query("kind7")) == 100
    assert len(ledger.query("kind7", "s3", newest=1)) == 1
    assert ledger.query("kind7", after=4990) == []
    monkeypatch.undo()
    with postgres.connect() as connection:
        connection.execute(ledger._tables.named("ANALYZE {facts}"))
        plans = [str(connection.execute(sql.SQL("EXPLAIN ") + query, given).fetchall()) for query, given in asked]
    assert [plan for plan in plans if "Seq Scan" in plan or "Index" not in plan] == []
    assert "facts_by_" in plans[0]
    assert "facts_by_subject" in plans[1]


def waiting(connection, known=()):
    """The process of a server that waits for a lock on a ledger, other than those known."""
    until = time.monotonic() + 10
    asked = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%UPDATE%%newest%%'"
    while time.monotonic() < until:
        if found := [pid for (pid,) in connection.execute(asked).fetchall() if pid not in known]:
            return found[0]
        time.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.fixture
def appended(postgres):
    """Appends on a thread while another writer holds the ledger and does what it is given; returns what came of it."""

    def append(ledger, meanwhile):
        came = []

        def write():
            try:
                came.extend(ledger.append([Fact("alert", "x")]))
            except Exception as error:  # noqa: BLE001 - what came of it
                came.append(error)

        writer = threading.Thread(target=write)
        with postgres.connect() as watcher, postgres.connect() as holder, holder.transaction():
            holder.execute(ledger._tables.named("UPDATE {ledger} SET newest = newest + 1"))
            writer.start()
            meanwhile(watcher, waiting(watcher))
        writer.join(20)
        assert not writer.is_alive()
        return came

    return append


def test_a_database_may_isolate_transactions_more_strictly(postgres, opened, appended):
    uri = postgres.uri()
    opened(uri).append([Fact("alert", "before")])
    with postgres.connect() as connection:
        connection.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
        try:
            ledger = opened(uri, Bounds(patience_s=0.0))  # nothing is tried again
            (written,) = appended(ledger, lambda _watcher, _pid: None)
        finally:
            connection.execute("ALTER DATABASE postgres RESET default_transaction_isolation")
    assert written.seq == 3  # after the other writer's, which it waited for


def test_a_server_that_ends_long_transactions_is_asked_again(postgres, opened, appended):
    ledger = opened(postgres.uri(options="-c%20transaction_timeout%3D300"))
    ledger.query("*")
    (written,) = appended(ledger, lambda watcher, ended: waiting(watcher, known=(ended,)))
    assert (written.subject, written.seq) == ("x", 2)


def test_a_server_that_ends_idle_transactions_is_asked_again(postgres, opened):
    ledger, tries = opened(postgres.uri(), Bounds(busy_s=0.1)), []
    ledger.query("*")

    def slow(connection):
        tries.append(connection.info.backend_pid)
        with connection.transaction(), postgres.connect() as watcher:
            connection.execute("SELECT 1")
            until = time.monotonic() + 10
            while (
                len(tries) == 1
                and time.monotonic() < until
                and watcher.execute("SELECT FROM pg_stat_activity WHERE pid = %s", tries).fetchall()
            ):
                time.sleep(0.01)
            return connection.execute("SELECT 2").fetchone()

    assert ledger._pool.do(slow) == (2,)
    assert len(tries) == 2


def test_a_transaction_that_is_always_too_long_is_said_to_be(postgres, opened, appended):
    ledger = opened(postgres.uri(options="-c%20transaction_timeout%3D100"), Bounds(patience_s=0.0))
    ledger.query("*")

    def until_ended(watcher, pid):
        until = time.monotonic() + 10
        while watcher.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall():
            assert time.monotonic() < until, "it goes on"
            time.sleep(0.01)

    (error,) = appended(ledger, until_ended)
    assert isinstance(error, Unavailable)
    assert "transaction timeout" in str(error)
