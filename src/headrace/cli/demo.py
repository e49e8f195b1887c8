"""``headrace demo``: the main job on real data, start to finish; each chapter says what it did and how long it took."""

import shutil
import sys
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from headrace.cli.demo_story import Story
from headrace.cli.output import Output, aligned, options

Report = dict[str, Any]


@click.command()
@click.option("--dir", "folder", default="headrace-flights", show_default=True, help="Where the project is copied to.")
@click.option("--every", default=7, show_default=True, help="Send one in so many of the flights from March to July.")
@click.option("--keep", is_flag=True, help="Leave the endpoint running.")
@options
def command(out: Output, folder: str, every: int, *, keep: bool) -> None:
    """The main job on real data: from raw flights to a monitored endpoint.

    Copies the example project, puts its datasets, runs its pipeline, serves the endpoint, sends it five months of
    flights, watches it and explains one of its answers. A second call reuses every step that has not changed.
    """
    from headrace.placement.memory import PeakMemory

    begun = time.perf_counter()
    root = Path(folder).resolve()
    with PeakMemory() as memory:
        report = _told(out, root, every, keep=keep)
    report["seconds"] = round(time.perf_counter() - begun, 2)
    report["peak_rss_bytes"] = memory.peak_bytes
    out.result(report, _closing(report, root, keep=keep))


def _told(out: Output, root: Path, every: int, *, keep: bool) -> Report:
    from headrace.cli import demo_project
    from headrace.sdk import ambient

    copied = demo_project.copy_project(root)
    out.say(f"headrace demo: {'copied the flights project to' if copied else 'using the project in'} {root}")
    with chdir(root):
        platform = ambient.platform()
        try:
            return _Telling(out, platform, every).tell(keep=keep)
        finally:
            platform.close()


class _Telling(Story):
    """The chapters in order; each adds its part to the report."""

    def tell(self, *, keep: bool) -> Report:
        """All chapters; the endpoint is stopped at the end unless ``keep``."""
        from headrace.cli.demo_watch import explained, labelled, observed, skew

        self.chapter("Datasets: put as versions", self._datasets)
        self.chapter("Data checks: what is in them", self._dirt)
        self.chapter("Pipeline: clean, features, split, search, export, gates, register, deploy", self._pipeline)
        rows, same = self._requests()
        try:
            self.chapter("Serving: HTTP on 127.0.0.1, deadline 50 ms", self._serve)
            ids = self.chapter(
                f"Traffic: {len(rows):,} flights from March to July, as they were asked", self._traffic, rows
            )
            labelled(self.platform, rows, ids)
            self.chapter("Skew: what was served against the features of the whole year", skew, self, same, ids)
            self.chapter("Monitoring: by month of the flights", observed, self, rows[-1]["asked"])
            self.chapter("Explain: why one of these answers", explained, self, ids)
        finally:
            if not keep:
                self.platform.services().stop(self.platform.settings.gateway)
        return self.report

    def _datasets(self) -> None:
        from headrace.cli.demo_project import put_all

        rows = put_all(self.platform)
        self.table(
            [{**r, "digest": r["digest"][:12]} for r in rows], ["dataset", "rows", "columns", "digest", "seconds"]
        )
        self.report["datasets"] = rows

    def _dirt(self) -> None:
        from headrace.cli.demo_project import check_all

        self.report["dirt"] = check_all(self.platform)
        for dataset, findings in self.report["dirt"].items():
            for finding in findings:
                self.say(f"{dataset}: {finding['message']}")

    def _pipeline(self) -> None:
        from headrace.cli.demo_run import judged, run_pipeline

        done = run_pipeline(self, "late", {})
        judged(self, done)

    def _requests(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        from headrace.cli.demo_run import mirrored, rows_of, run_pipeline

        self.out.say()
        self.out.say("Requests: the features of each month, by the step that made the training rows")
        mirror = mirrored(self)
        rows = rows_of(run_pipeline(self, "traffic", {"every": self.every}))
        same = rows_of(run_pipeline(self, "offline", {"every": self.every}))
        if mirror is not None:
            # It would take the processor from the endpoint, whose deadline is about to be measured.
            mirror.wait()
        return rows, same

    def _serve(self) -> None:
        from headrace.client import Client
        from headrace.placement.gateway import gateway_spec

        settings = self.platform.settings
        spec = replace(gateway_spec(settings.root, ["late"]), name=settings.gateway)
        self.service = self.platform.services().start(spec)
        self.client = Client(self.service.address)
        self.client.wait_ready()
        self.report["address"] = self.service.address
        self.report["seconds_to_endpoint"] = round(time.perf_counter() - self.begun, 2)
        seconds = self.report["seconds_to_endpoint"]
        self.say(f"{self.service.address}/v1/models/late:predict answers {seconds} s after the start")

    def _traffic(self, rows: list[dict[str, Any]]) -> list[str]:
        from headrace.cli.demo_run import bodies_of
        from headrace.cli.demo_traffic import send, summary

        asked = bodies_of(self.platform, rows)
        with self.out.progress("requests", len(asked)) as progress:
            traffic = send(self.client, "late", asked, progress)
        self.report["requests"] = figures = summary(traffic, deadline_s=0.050)
        in_time = figures["by_deadline"] / max(figures["sent"], 1)
        self.say(f"{figures['answered']:,} of {figures['sent']:,} answered, {in_time:.3%} within the deadline + 10 ms")
        times = f"p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms by the server's clock"
        self.say(f"{figures['per_second']:,} requests a second, {times}")
        self.say("answered by " + ", ".join(f"{name} {count:,}" for name, count in figures["won_by"].items()))
        for failure in figures["failures"]:
            self.say(f"failed: {failure}")
        return traffic.ids


def _closing(report: Report, root: Path, *, keep: bool) -> list[str]:
    asked, models = report["requests"], report["models"]
    drifted = [a["column"] for a in report["alerts"] if a["about"] == "drift"]
    told = f"{len(drifted)} alerts ({', '.join(sorted(set(drifted)))})" if drifted else "no input drifted"
    parity = max(p["max_difference"] for p in report["parity"].values())
    facts = {
        "model": f"{models[0]['version']}, AUC {report['metrics']['late']['auc']:.3f} on days it had not seen",
        "parity": f"trained and served answers differ by {parity:.1e} at most",
        "requests": f"{asked['answered']:,} of {asked['sent']:,} answered, {asked['defaults']} by the default",
        "latency": f"p50 {asked['p50_ms']} ms, p99 {asked['p99_ms']} ms, {asked['per_second']:,} requests a second",
        "skew": f"{report['skew']['equal']:,} of {report['skew']['compared']:,} requests equal the offline features",
        "drift": f"{told}; {len(report['alerts']) - len(drifted)} alerts of calibration",
        "demo": f"{report['seconds']} s, peak memory {report['peak_rss_bytes'] / 2**20:.0f} MiB",
    }
    tries = {
        "headrace demo --dir . --keep": "again: unchanged steps are reused; the endpoint stays up",
        f"headrace serving explain {report['explanation']['id']}": "",
        "headrace runs ls": "every run; runs show and runs logs tell more",
        "headrace data show flights": "a dataset's contract and profile",
        "headrace models show late": "where the model comes from",
        "headrace monitor show late": "drift and calibration by month",
        "headrace doctor": "what this project still lacks for production",
    }
    if report["tracking"]:
        tries[f"mlflow ui --backend-store-uri {report['tracking']}"] = "the trials, in MLflow's own pages"
    if shutil.which("headrace") is None:
        tries = {f". {Path(sys.executable).parent / 'activate'}": "makes headrace known to this shell", **tries}
    if keep:
        tries = {"headrace serving run late --stop": f"the endpoint still runs at {report['address']}", **tries}
    return [
        "",
        *aligned([{"what": what, "value": value} for what, value in facts.items()], ["what", "value"]),
        "",
        f"Try next, in {root}:",
        *[f"  {line:<30}  {'# ' + why if why else ''}".rstrip() for line, why in tries.items()],
    ]
