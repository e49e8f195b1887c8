"""Features joined at the front door of a real gateway: from a dataset to an explained, exported, replayed prediction."""

import json
import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from server_process import serving, until
from wine_project import WineProject

import headrace as hr
from headrace.datasets.catalogue import find as dataset
from headrace.datasets.contents import table
from headrace.datasets.put import put
from headrace.errors import HeadraceError
from headrace.features.view import find as view_of
from headrace.features.view import views
from headrace.serving.log import RequestLog

SETTINGS = """
[endpoint.wine]
deadline_ms = 4000
schedule = [{ model = "wine@1", wait_ms = 3000 }]
shadows = ["wine@2"]
default = { quality = 5.0 }
join = [{ view = "cellars", on = ["place"] }]
"""
PLACES = [f"place {number}" for number in range(40)]
START = datetime(2024, 1, 1, tzinfo=UTC)
MANY = 400_000


def measurements(seed):
    """Some hundred measurements of each place, in no order, some of them null."""
    rng = random.Random(seed)
    rows = [
        (
            place,
            START + timedelta(minutes=minute),
            rng.choice([None, 3.0, 3.25, 3.5]) if minute < 90 else 3.0 + rng.random(),
        )
        for place in PLACES
        for minute in rng.sample(range(100), 30)
    ]
    rng.shuffle(rows)
    return pa.table(dict(zip(("place", "at", "ph"), map(list, zip(*rows, strict=True)), strict=True)))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    opened = WineProject(tmp_path_factory.mktemp("wine"), SETTINGS)
    opened.register(0.5)
    opened.register(0.9)
    store(opened, "measurements", measurements(7))
    assert cli(opened, *ASKED).returncode == 0
    assert cli(opened, "serving", "deploy", "wine").returncode == 0
    yield opened
    opened.close()


ASKED = ("features", "materialize", "cellars", "--from", "measurements", "--by", "place", "--event-time", "at")


def store(project, name, rows):
    pq.write_table(rows, project.root / f"{name}.parquet")
    return put(project.platform.stores(), name, project.root / f"{name}.parquet", licence="MIT")


def cli(project, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=120, check=False)


def row_of(place):
    return {"alcohol": 9.5, "density": 0.99, "place": place}


def test_what_is_joined_online_is_what_is_joined_offline(project):
    """Parity over every entity; then the log, its export, a replay and the explanation say the same of it."""
    ledger, stores = project.platform.ledger(), project.platform.stores()
    asked = pa.table({"place": PLACES, "now": [START + timedelta(days=1)] * len(PLACES)})
    pq.write_table(asked, project.root / "asked.parquet")
    frames = stores.tables.scan([project.root / "asked.parquet"]), table(stores, dataset(ledger, "measurements"))
    offline = hr.features.latest(*frames, by="place", at="now", event_time="at").collect("pyarrow")
    due = dict(zip(offline["place"].to_list(), offline["ph"].to_list(), strict=True))
    known = [place for place in PLACES if due[place] is not None]
    assert len(known) > 10
    with serving(project.root) as gateway:
        answers = {place: gateway.client.predict("wine", rows=[row_of(place)]) for place in known}
        for place in set(PLACES) - set(known):
            with pytest.raises(HeadraceError, match=place):
                gateway.client.predict("wine", rows=[row_of(place)])
        assert gateway.metric("headrace_unjoined_total", endpoint="wine") == 0
        assert gateway.end()[0] == 0
    log = RequestLog(project.platform.stream(), "wine")
    version = view_of(ledger, "cellars")
    for place, answer in answers.items():
        logged = log.find(answer.id)
        assert list(logged.columns["ph"]) == [due[place]]
        assert [tuple(one) for one in logged.joined] == [("cellars", version.version, ("ph",))]
        assert json.loads(logged.raw.body) == {"instances": [row_of(place)]}
        assert answer.values[0] == pytest.approx(9.5 + 9.9 + 100 * due[place] + 0.5, rel=1e-5)
        shadow = next(score for score in logged.scores if score.model == "wine@2")
        assert shadow.outputs["quality"][0] == pytest.approx(answer.values[0] + 0.4, rel=1e-5)
    told = json.loads(cli(project, "serving", "explain", answers[known[0]].id, "--json").stdout)
    assert told["joined"] == [
        {
            "view": "cellars",
            "version": version.version,
            "dataset": "measurements@1",
            "dataset_digest": dataset(ledger, "measurements").digest,
            "values": {"ph": [due[known[0]]]},
        }
    ]
    said = cli(project, "serving", "explain", answers[known[0]].id).stdout
    assert f"from view cellars {version.version[:16]} made of measurements@1" in said
    assert cli(project, "data", "put", "request-log://wine", "--name", "asked", "--licence", "MIT").returncode == 0
    exported = table(stores, dataset(ledger, "asked")).collect("pyarrow")
    assert dict(zip(exported["place"].to_list(), exported["ph"].to_list(), strict=True)) == {p: due[p] for p in known}
    replayed = json.loads(cli(project, "serving", "replay", "wine", "--model", "wine@2", "--json").stdout)
    assert replayed["requests"] == len(known)
    assert replayed["numbers"]["mean_difference"] == pytest.approx(0.4, abs=1e-3)


def test_kill_9_in_the_middle_of_a_version_under_load(project, figure):
    """Requests go on with the version before; what was begun is gone without a trace, and can be done again."""
    before = view_of(project.platform.ledger(), "cellars")
    rows = {"place": [*PLACES, *(f"other {n}" for n in range(MANY))], "ph": [9.0] * (MANY + len(PLACES))}
    store(project, "many", pa.table(rows))
    asked = ("features", "materialize", "cellars", "--from", "many", "--by", "place")
    half, stop, failed, seen = project.platform.home / "online" / "cellars.half", threading.Event(), [], set()
    with serving(project.root) as gateway:

        def ask():
            while not stop.is_set():
                try:
                    answer = gateway.client.predict("wine", rows=[row_of("place 3")])
                except HeadraceError as error:
                    failed.append(str(error))
                else:
                    seen.add(answer.values[0])
                    failed.extend([answer.winner] * (answer.winner != "wine@1"))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            until(lambda: seen)
            began = subprocess.Popen([sys.executable, "-m", "headrace", *asked], cwd=project.root)
            until(lambda: half.exists() and half.stat().st_size > 1_000_000)
            began.send_signal(signal.SIGKILL)
            assert began.wait(20) == -signal.SIGKILL
            assert half.exists()
            assert project.platform.online().read("cellars", ()).view.version == before.version
            assert len(seen) == 1
            assert cli(project, *asked).returncode == 0
            until(lambda: len(seen) == 2)
        finally:
            stop.set()
            asking.join()
    figure("join.kill9_failed", len(failed))
    assert not failed
    assert not half.exists()
    assert max(seen) == pytest.approx(9.5 + 9.9 + 100 * 9.0 + 0.5, rel=1e-5)
    online, newest = project.platform.online().read("cellars", ()).view, view_of(project.platform.ledger(), "cellars")
    assert (online.version, online.dataset) == (newest.version, "many@1") != (before.version, before.dataset)


def test_what_an_endpoint_joins_cannot_be_taken_from_it(project):
    store(project, "sour", pa.table({"place": PLACES, "sourness": [1.0] * len(PLACES)}))
    store(project, "numbered", pa.table({"place": list(range(40)), "ph": [3.0] * 40}))
    store(project, "texts", pa.table({"place": PLACES, "ph": ["3.0"] * len(PLACES)}))
    before = len(views(project.platform.ledger(), "cellars"))
    for name, said in {
        "sour": "it joins 'ph' as float64, this version has no 'ph'",
        "texts": "this version has 'ph' as string",
        "numbered": "it joins by place (string), this version has place (int64)",
    }.items():
        done = cli(project, "features", "materialize", "cellars", "--from", name, "--by", "place")
        assert (done.returncode, said in done.stderr) == (3, True), done.stderr
        assert "endpoint wine" in done.stderr
    assert len(views(project.platform.ledger(), "cellars")) == before
