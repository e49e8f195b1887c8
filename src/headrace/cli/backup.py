"""``headrace backup``."""

from dataclasses import asdict
from pathlib import Path

import click

from headrace.cli.output import Output, options


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options
def command(out: Output, file: Path) -> None:
    """Write the registry and the ledger as the new file FILE: every fact, every model and dataset version."""
    from headrace.assembly import open_platform
    from headrace.journey.backup import backup

    done = backup(open_platform().stores(), file)
    said = f"{done.facts:,} facts and {done.objects:,} objects ({done.size_bytes / 2**20:.1f} MiB) backed up to {file}"
    out.result(asdict(done), [said, f"sha256 of its contents {done.digest}"])
