"""``headrace serving``: endpoints: deploy, split, promote, rollback, run, predict, replay, explain."""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.experiment import ab
from headrace.cli.group import Group
from headrace.cli.output import Output, options
from headrace.cli.params import read_params
from headrace.cli.pictures import image_row
from headrace.cli.project import no_project
from headrace.cli.project import platform as open_project
from headrace.cli.traffic import begin_canary, check_given, promote, rollback, split
from headrace.errors import NotFound, Unavailable, UsageError

if TYPE_CHECKING:
    from headrace.client import Client
    from headrace.journey.platform import Platform
    from headrace.placement.services import ServiceState
    from headrace.serving.deployment import Deployment

_TLS_FILES = ("tls_certificate", "tls_key", "tls_client_ca")


@click.group(cls=Group)
def command() -> None:
    """Endpoints: what is deployed, who serves it, and what it answers."""


@command.command("ls")
@click.argument("endpoint", required=False)
@click.option("--as-of", help="What was deployed then: 2h ago, or an instant.")
@click.option("--history", is_flag=True, help="Every change of ENDPOINT: when, what, by whom, why.")
@click.option("--watch", is_flag=True, help="Show the models of ENDPOINT side by side, anew each second, until Ctrl-C.")
@options
def list_(out: Output, endpoint: str | None, **asked: Any) -> None:
    """Every endpoint (or ENDPOINT) and version: state, memory and traffic; what is deployed and not served too."""
    from headrace.cli.served import lines, rows

    platform = open_project()
    if any(value not in {None, False} for value in asked.values()):
        from headrace.cli.scoreboard import look

        look(out, platform, endpoint, asked)
        return
    client = _client(platform)
    overview = None if client is None else client.overview()
    deployments = _deployments(out, platform, endpoint, served=overview is not None)
    found = [row for row in rows(deployments, overview) if endpoint in {None, row["endpoint"]}]
    if endpoint is not None and not found:
        raise NotFound(f"no endpoint named {endpoint!r}", fix="headrace serving ls")
    out.result(found, lines(found))
    if not found:
        place = no_project(platform.settings.root)
        out.say(f"nothing is deployed yet - headrace serving deploy NAME, or hr.deploy in a pipeline{place}")
    if overview is not None:
        taken = "" if overview.memory_bytes is None else f" takes {overview.memory_bytes / 2**20:.1f} MiB"
        out.say(f"the gateway (pid {overview.pid}){taken}")
        unfollowed = [f"it does not follow what is deployed: {overview.unfollowed}"] if overview.unfollowed else []
        for warning in (*unfollowed, *overview.warnings):
            out.say(warning)


@command.command()
@click.argument("endpoint")
@click.option("--why", default="", help="For people who read the ledger.")
@click.option("--replace-signature", is_flag=True, help="It may take or give something else than what is live.")
@click.option("--force", is_flag=True, help="It may end a canary or a split that stands.")
@click.option("--canary", help='ENDPOINT is a model (late@challenger): its growing shares, "5% 25% 100%".')
@click.option("--every", default="10m", show_default=True, help="How long each share lasts at least.")
@click.option(
    "--abort-if", multiple=True, metavar="RULE", help='"error_rate > 1%", "p99_ms > 1.2x champion"; may repeat.'
)
@click.option("--least", type=int, default=20, show_default=True, help="Requests that each share must have met.")
@click.option("--key", default="", help="What keeps a caller with the same model: an input column, or a header.")
@click.option("--endpoint", "on", help="Where the canary goes.  [default: named as the model]")
@options
def deploy(out: Output, endpoint: str, *, canary: str | None, on: str | None, **said: Any) -> None:
    """Make [endpoint.ENDPOINT] of headrace.toml live; running gateways follow at once.

    With --canary, give a model growing shares of an endpoint's requests. Gateways go from step to step, and back to
    what served before as soon as a rule holds: "error_rate > 1%", "p99_ms > 1.2x champion".
    """
    plan = {name: said.pop(name) for name in ("every", "abort_if", "least", "key")}
    check_given(canary=canary is not None or "@" in endpoint)
    if canary is not None or "@" in endpoint:
        begin_canary(out, open_project(), endpoint, on or endpoint.partition("@")[0], canary, why=said["why"], **plan)
        return
    from headrace.delivery.deploy import Allowed
    from headrace.delivery.deploy import deploy as deploy_endpoint
    from headrace.serving.endpoint import example, read_endpoint

    platform = open_project()
    table = platform.settings.endpoints.get(endpoint)
    if table is None:
        known = ", ".join(platform.settings.endpoints) or "none"
        raise NotFound(
            f"headrace.toml has no [endpoint.{endpoint}]",
            why=f"it has {known}",
            fix=f"write there {example(endpoint)}; headrace models ls shows which models there are",
        )
    allowed = Allowed(said["replace_signature"], said["force"])
    asked = read_endpoint(endpoint, table)
    deployed = deploy_endpoint(platform.ledger(), asked, why=said["why"], allowed=allowed)
    told = {"endpoint": endpoint, "deployment": deployed.seq, "models": dict(deployed.models)}
    out.result(
        told, [f"{endpoint} serves {', '.join(dict.fromkeys(deployed.models.values()))} (deployment {deployed.seq})"]
    )


@command.command()
@click.argument("endpoints", nargs=-1)
@click.option("--host", help="Address to bind; other hosts reach it with tokens, and by TLS.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="0 for a free one.  [default: 8700, or the setting port]")
@click.option("--name", "gateway", help="Of this gateway, where a project has several; the setting gateway.")
@click.option("--models", type=click.Path(path_type=Path), help="Watch a folder of models as well: NAME/VERSION/.")
@click.option("--tls-certificate", metavar="FILE", help="PEM file of the certificate to show, over HTTP and gRPC.")
@click.option("--tls-key", metavar="FILE", help="PEM file of its key.")
@click.option("--tls-client-ca", metavar="FILE", help="PEM file of the authority whose certificates callers must show.")
@click.option(
    "--expose-unencrypted",
    is_flag=True,
    help="Bind another host without TLS: whoever is on the way reads requests, answers and tokens.",
)
@click.option("--metrics-names", help="Whose names metrics have: headrace, tensorflow, triton; commas between.")
@click.option("--grpc-port", type=int, help="Answer gRPC there as well; 0 for a free port.")
@click.option("--control-port", type=int, help="Load and unload there, for who has a token; 0 for a free port.")
@click.option("--control-grpc-port", type=int, help="The same over gRPC.")
@click.option("--detach", is_flag=True, help="Return when it is ready; it goes on running.")
@click.option("--stop", is_flag=True, help="Stop a running gateway.")
@options
def run(out: Output, endpoints: tuple[str, ...], *, detach: bool, stop: bool, **asked: Any) -> None:
    """Serve ENDPOINTS (by default all that are deployed) over HTTP until Ctrl-C.

    The models of a watched folder are served besides, all of them.
    """
    from dataclasses import replace

    from headrace.cli.starting import await_models, watch
    from headrace.placement.bind import bind_of
    from headrace.placement.gateway import GATEWAY, Beside, check_same, checked_own, gateway_spec, once_it_listens

    flags = {name: asked.pop(name) for name in ("host", "port", *_TLS_FILES)}
    unencrypted = asked.pop("expose_unencrypted")
    platform = open_project(**_from_here(flags), gateway=asked.pop("gateway"))
    services, settings, beside = platform.services(), platform.settings, Beside(**asked)
    before = services.state(checked_own(settings.gateway))
    if stop:
        services.stop(settings.gateway)
        line = "nothing to stop: no gateway is running" if before.state == "stopped" else "stopped"
        out.result({"state": "stopped"}, [line])
        return
    bind = bind_of(settings, unencrypted=unencrypted)
    _check_served(platform, endpoints, beside.models)
    if before.state == "running":
        check_same(before, endpoints, bind.asked(flags), beside, detach=detach)
    if not detach:
        _end_as_by_ctrl_c()
    root = settings.root.resolve()
    shown = root / settings.client_certificate if settings.client_certificate else None
    spec = gateway_spec(root, endpoints, bind=bind, beside=beside, shown=shown)
    spec = replace(once_it_listens(spec), name=settings.gateway, environment={"HEADRACE_GATEWAY": settings.gateway})
    state, stays = services.start(spec), before.state == "running"
    try:
        await_models(out, platform, endpoints, beside.models)
        _say_addresses(out, state, platform.home)
        stays = detach
        named = "" if settings.gateway == GATEWAY else f" --name {settings.gateway}"
        out.say(f"headrace serving run{named} --stop ends it" if detach else "Ctrl-C ends it")
        if not detach:
            watch(platform)
    finally:
        if not stays:
            services.stop(settings.gateway)


@command.command()
@click.argument("endpoint")
@click.option("--model", "models", multiple=True, help="Score with this model or version only; may repeat.")
@options
def worker(out: Output, endpoint: str, *, models: tuple[str, ...]) -> None:
    """Score what gateways ask of ENDPOINT, in this process, until Ctrl-C or SIGTERM.

    For gateways with scorers = "workers" and a stream that goes between processes: stream = "kafka://broker:9092".
    Several workers of one model version share its requests.
    """
    import signal
    import threading

    from headrace.journey.workers import worker as open_worker

    platform = open_project()
    stations, stop = open_worker(platform, endpoint, models), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    out.result({"worker": stations.worker, "endpoint": endpoint}, [f"worker {stations.worker} scores for {endpoint}"])
    out.say("Ctrl-C ends it")
    try:
        stations.run(stop)
    finally:
        platform.close()


def _say_addresses(out: Output, state: "ServiceState", home: Path) -> None:
    from headrace.placement.gateway import addresses, asks_for_tokens
    from headrace.placement.tokens import NAME

    more = addresses(state.command)
    said = {"state": state.state, "address": state.address, "pid": state.pid, **more}
    out.result(
        said, [f"serving on {state.address}", *(f"{name.replace('_', ' ')} on {at}" for name, at in more.items())]
    )
    if "control" in more or "control_grpc" in more:
        out.say(f"the control ports ask for a token, such as the one in {home / NAME}")
    if asks_for_tokens(state.command):
        out.say("other hosts reach it, with a token: headrace tokens make NAME --scope score")


@command.command()
@click.argument("endpoint")
@click.option("--row", "rows", multiple=True, help="One row as a JSON object; may repeat.")
@click.option("--columns", help="Columns as a JSON object of lists.")
@click.option(
    "--file", "path", type=click.Path(path_type=Path), help="JSON: a row, a list of rows, or columns; - for stdin."
)
@click.option("--image", type=click.Path(path_type=Path), help="An image, for a model of one tensor that takes some.")
@click.option("--white", type=click.Choice(["1", "255"]), default="1", show_default=True, help="What white is there.")
@click.option("--signature", default="", help="Which of the model's signatures to ask.  [default: the one served]")
@click.option("--param", "params", multiple=True, help="A parameter of the model: NAME=VALUE; may repeat.")
@click.option("--version", type=int, help="Score one version of the preferred model, without the schedule.")
@click.option("--all-versions", is_flag=True, help="Compare all loaded versions of the preferred model.")
@options
def predict(out: Output, endpoint: str, *, image: Path | None, white: str, **given: Any) -> None:
    """Send rows to the running gateway and print what it answers."""
    from headrace.journey.scoreboard import gateway_client

    platform = open_project()
    client = gateway_client(platform)
    compared, version = given.pop("all_versions"), given.pop("version")
    how = {"signature": given.pop("signature"), "params": read_params(given.pop("params"))}
    row = None
    if image is not None:
        asks = {"client": client, "endpoint": endpoint, "signature": how["signature"]}
        row = image_row(platform.settings, image, **asks, white=float(white))
    asked = how | _input(**given, row=row)
    if compared:
        if version is not None:
            raise UsageError("give one of --version and --all-versions")
        _compare(out, client, endpoint, asked)
        return
    answer = client.predict(endpoint, version=version, **asked)
    said = {
        "id": answer.id,
        "winner": answer.winner,
        "elapsed_ms": answer.elapsed_s * 1000,
        "predictions": list(answer.values),
    }
    out.result(said, [str(value) for value in answer.values])
    out.say(f"answered by {answer.winner} in {answer.elapsed_s * 1000:.1f} ms - headrace serving explain {answer.id}")


@command.command()
@click.argument("prediction")
@click.option("--body", is_flag=True, help="Write the request's body instead, byte for byte as it came.")
@options
def explain(out: Output, prediction: str, *, body: bool) -> None:
    """Why PREDICTION (an id from x-headrace-id) is what it is: input, scores, winner, model, data, commit."""
    from headrace.cli.explanation import lines
    from headrace.journey.explain import explain as explain_prediction

    if body:
        from headrace.journey.explain import body as body_of

        sys.stdout.buffer.write(body_of(open_project(), prediction))
        return
    told = explain_prediction(open_project(), prediction)
    out.result(told, lines(told))


@command.command()
@click.argument("endpoint")
@click.option("--model", required=True, help="The candidate: late@challenger, late@4.")
@click.option("--since", default="", help="From when: 2h, 7d, or an instant.  [default: all that is logged]")
@click.option("--slice", "slices", multiple=True, help="An input column to look at category by category; may repeat.")
@click.option("--tolerance", default=0.01, show_default=True, help="Answers differ when they are farther apart.")
@options
def replay(out: Output, endpoint: str, *, since: str, slices: tuple[str, ...], **asked: Any) -> None:
    """Score the logged requests of ENDPOINT with a candidate, without touching production."""
    from datetime import UTC, datetime

    from headrace.cli.replayed import lines
    from headrace.journey.replay import Replay, replayed
    from headrace.serving.moments import ago

    since_s = ago(since, datetime.now(UTC)).timestamp() if since else 0.0
    platform = open_project()
    with out.progress("requests replayed", about=True) as progress:
        found = replayed(platform, Replay(endpoint, since_s=since_s, slices=slices, progress=progress, **asked))
    out.result(found.to_json(), lines(found))


def _deployments(out: Output, platform: "Platform", endpoint: str | None, *, served: bool) -> "list[Deployment]":
    """What was deployed; nothing while the ledger is away, if a gateway tells what it serves all the same."""
    from headrace.serving.deployment import history

    try:
        return history(platform.ledger(), endpoint)
    except Unavailable as error:
        if not served:
            raise
        out.say(f"what is deployed is not known here: {error}")
        return []


def _client(platform: "Platform") -> "Client | None":
    """A client of the project's gateway; None when none runs."""
    from headrace.journey.scoreboard import gateway_client

    try:
        return gateway_client(platform)
    except Unavailable:
        return None


def _from_here(flags: dict[str, Any]) -> dict[str, Any]:
    """Files that the command line names are relative to where it was typed; those of settings to the project."""
    files = {name: str(Path(flags[name]).resolve()) for name in _TLS_FILES if flags[name]}
    return {**flags, **files}


def _check_served(platform: "Platform", endpoints: tuple[str, ...], folder: Path | None) -> None:
    if folder is None or endpoints:
        _check_deployed(platform, endpoints)
    if folder is not None:
        _check_folder(platform, folder)


def _check_deployed(platform: "Platform", endpoints: tuple[str, ...]) -> None:
    from headrace.serving.deployment import current, history

    missing = [name for name in endpoints if current(platform.ledger(), name) is None]
    if missing or not (endpoints or history(platform.ledger(), newest=1)):
        raise NotFound(
            f"nothing is deployed under {', '.join(missing)}" if missing else "nothing is deployed",
            fix=f"headrace serving deploy {missing[0] if missing else 'NAME'}{no_project(platform.settings.root)}",
        )


def _end_as_by_ctrl_c() -> None:
    """Have SIGTERM, and the SIGHUP of a terminal that closes, end the gateway as well, and not us alone."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)


def _check_folder(platform: "Platform", folder: Path) -> None:
    from headrace.serving.deployment import history
    from headrace.serving.model_folder import states

    if not folder.is_dir():
        raise NotFound("no such folder", where=str(folder), fix="name the folder that holds MODEL/VERSION/")
    if not states(folder) and not history(platform.ledger(), newest=1):
        raise NotFound(
            "there is nothing to serve",
            where=str(folder),
            why="it holds no MODEL/VERSION/, and nothing is deployed",
            fix=f"put a model's file at {folder / 'NAME/1'}/",
        )


def _compare(out: Output, client: "Client", endpoint: str, asked: dict[str, Any]) -> None:
    """Ask every loaded version the same, and print their answers beside each other."""
    from headrace.cli.comparison import agree, lines

    numbers = [int(row["version"]) for row in client.status(endpoint) if row["state"] == "AVAILABLE"]
    given = {str(number): client.predict(endpoint, version=number, **asked) for number in numbers}
    if not given:
        raise Unavailable(f"endpoint {endpoint!r} has no version loaded", fix="headrace serving ls")
    answers = {given[number].winner: list(given[number].values) for number in given}
    said = {
        "endpoint": endpoint,
        "versions": {a.winner: {"id": a.id, "elapsed_ms": a.elapsed_s * 1000, "predictions": list(a.values)}
                     for a in given.values()},
        "agree": agree(answers),
    }  # fmt: skip
    out.result(said, lines(answers))


def _input(rows: tuple[str, ...], *, columns: str | None, path: Path | None, row: Any = None) -> dict[str, Any]:
    if sum(map(bool, (rows, columns, path, row is not None))) != 1:
        raise UsageError("give the input once", fix="""--row '{"ph": 3.5}', or --columns, --file or --image""")
    if row is not None:
        return {"rows": [row]}
    if rows:
        return {"rows": [_json(text, "--row") for text in rows]}
    try:
        text = columns or (sys.stdin.read() if str(path) == "-" else (path or Path()).read_text("utf-8"))
        value = _json(text, "--columns" if columns else str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", why=str(error)) from error
    if isinstance(value, list):
        return {"rows": value}
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        return {"columns": value}
    if columns:
        raise UsageError("--columns is no object of lists", fix="""--columns '{"ph": [3.5, 3.1]}'""")
    return {"rows": [value]}


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError("the input is not JSON", where=where, why=str(error)) from error


for each in (split, promote, rollback, ab):
    command.add_command(each)
