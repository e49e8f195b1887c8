"""Options of the whole test suite."""

import os
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import settings

# What CI says depends on the change alone; at home every run tries other examples.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ALLOWED_SKIP = "no GPU"
"""A skip for this reason stands even under --no-skips: CI machines have none."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails, unless it lacks a GPU")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Says what a test measured: ``figure("serving.swap_failed", 0)`` is a line below the tests' summary."""

    def say(name: str, value: float) -> None:
        request.node.user_properties.append(("figure", f"{name} {value:.6g}"))

    return say


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, ()) if hasattr(r, "when")]
    lines = [text for r in reports if r.when == "call" for name, text in r.user_properties if name == "figure"]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    return _refused(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    return _refused(report, collector.config)


def _refused(report: Any, config: pytest.Config) -> Any:
    """The report as it is, or as a failure when it says skipped and skips are refused."""
    if not config.getoption("--no-skips") or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if ALLOWED_SKIP not in reason:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and skips are refused here: {reason}"
    return report


@pytest.fixture(scope="session")
def noida(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any, None, None]:
    """A broker of the Kafka protocol, started once."""
    import kafka_brokers
    from programs import running

    with running(kafka_brokers.noida(tmp_path_factory.mktemp("noida"))) as broker:
        yield broker


@pytest.fixture(scope="session")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any, None, None]:
    """Another one, that shares no code with the first."""
    import kafka_brokers
    from programs import running

    with running(kafka_brokers.tansu(tmp_path_factory.mktemp("tansu"))) as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres() -> Generator[Any, None, None]:
    """A PostgreSQL server, started once."""
    import postgres_server

    with postgres_server.postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def started_s3(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any, None, None]:
    """A store of the S3 protocol, started once."""
    from programs import running
    from s3_store import weed

    with running(weed(tmp_path_factory.mktemp("s3"))) as store:
        yield store


@pytest.fixture
def s3(started_s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, and this process is told of it."""
    for name, value in started_s3.variables().items():
        monkeypatch.setenv(name, value)
    return started_s3


@pytest.fixture
def hosts(tmp_path: Any) -> Generator[Callable[[Any, str], Any], None, None]:
    """Opens engines, ``hosts(open_stream, uri)``, each as if on a host of its own; closed at the end."""
    from headrace.settings import Settings

    opened: list[Any] = []

    def host(open_engine: Any, uri: str) -> Any:
        opened.append(open_engine(Settings(root=tmp_path / f"host-{len(opened)}"), uri))
        return opened[-1]

    yield host
    for engine in opened:
        engine.close()


@pytest.fixture
def unharmed(figure: Any) -> Any:
    """Says what was lost and what was answered twice; neither may be."""

    from three_models import harm

    def check(case: str, loads: Any, log: Any) -> None:
        lost, twice = harm(loads, log)
        figure(f"rendezvous.lost_acknowledged, {case}", lost)
        figure(f"rendezvous.answered_twice, {case}", twice)
        assert (lost, twice) == (0, 0)

    return check
