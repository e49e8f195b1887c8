"""``headrace models export``: a version as a folder."""

from pathlib import Path

import click

from headrace.cli.output import Output, options


@click.command()
@click.argument("reference")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder that gets NAME/VERSION.")
@options
def export(out: Output, reference: str, *, to: Path) -> None:
    """Write a version (late, late@3, late@champion) as FOLDER/NAME/VERSION, with signature, examples and digests."""
    from headrace.assembly import open_platform
    from headrace.journey.exports import exported
    from headrace.models.registry import find

    platform = open_platform()
    version = find(platform.ledger(), reference)
    folder = exported(platform.files(), version, to)
    said = {"model": str(version), "folder": str(folder), "digest": version.digest, "manifest": version.manifest}
    out.result(said, [f"{version} exported to {folder}"])
