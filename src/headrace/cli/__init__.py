"""The command line: one module a noun, loaded when its command is called.

Results go to stdout, progress and errors to stderr; ``--json`` and ``-q`` on every command. Exit codes: 0 ok, 1 run
failed, 2 usage, 3 a gate or check refused, 4 auth or service unreachable, 5 not found, 130 Ctrl-C.
"""

import errno
import gc
import importlib
import os
import sys
from typing import Any

import click

from headrace import __version__
from headrace.cli.output import Output
from headrace.errors import HeadraceError, UsageError

_COLLECT_EVERY = 20_000

# Command to (module below headrace.cli, one line of help); a group's own commands live in its module.
COMMANDS = {
    "demo": ("demo", "The main job on real data, start to finish."),
    "init": ("init", "Start a project in a folder."),
    "run": ("run", "Run a pipeline: cached, in parallel, recorded."),
    "runs": ("runs", "List runs, show one, read its logs."),
    "data": ("data", "Datasets: put, ls, show, profile, check."),
    "features": ("features", "Feature views: materialize, ls, show."),
    "models": ("models", "Model versions, their signatures and aliases."),
    "serving": ("serving", "Endpoints: run, deploy, predict, explain."),
    "monitor": ("monitor", "Drift, calibration and alerts of an endpoint."),
    "tokens": ("tokens", "Who may ask the servers what: make, ls, revoke."),
    "backup": ("backup", "Registry and ledger as one file."),
    "restore": ("restore", "A backup as a project again."),
    "config": ("config", "Settings, each with its origin."),
    "doctor": ("doctor", "Score the project and its parts; each failure with its fix."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported only when called, and which knows what a typo meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, in the order of the lifecycle."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module and return its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"headrace.cli.{COMMANDS[cmd_name][0]}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what was probably meant when a command is unknown."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            import difflib  # only a typo needs it

            near = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else " headrace --help lists them."
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Commands with their one line, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="headrace")
def cli() -> None:
    """Take a dataset to a monitored model in production."""


def main(args: list[str] | None = None) -> None:
    """Entry point of the ``headrace`` command: run, render errors, exit with the code their type carries."""
    # OpenMP threads that spin while they wait turn a second of tree training into fifteen when other work shares the
    # cores; it reads this when it is loaded, so it is set before anything else, for this process and those it starts.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if args is None:  # the process is ours: imports make many objects and no garbage
        gc.set_threshold(_COLLECT_EVERY, 50, 100)
    try:
        result = _called(args)
        code = result if isinstance(result, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = 130
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        code = _wrong_call(error, as_json="--json" in (sys.argv[1:] if args is None else args))
    except BrokenPipeError:
        code = 0
    except (HeadraceError, OSError) as error:
        code = _failed(error)
    # The process ends: to look through all that was imported once more would take 30 ms. DuckDB, where it was loaded,
    # would report its own objects as leaked if nobody did.
    if args is None and "duckdb" not in sys.modules:
        gc.freeze()
    sys.exit(code)


def _called(args: list[str] | None) -> Any:
    try:
        return cli.main(args=args, prog_name="headrace", standalone_mode=False)
    except ImportError as error:
        # Ctrl-C in the middle of a compiled library's start comes out as that library's failure.
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _failed(error: HeadraceError | OSError) -> int:
    """Render an error in one line, after its traceback when HEADRACE_DEBUG asks for that; its exit code."""
    if os.environ.get("HEADRACE_DEBUG", "0") not in {"", "0"}:
        import traceback  # only failures need it

        traceback.print_exception(error)
    told = error if isinstance(error, HeadraceError) else _of_system(error)
    Output.current().error(told)
    return told.exit_code


def _of_system(error: OSError) -> HeadraceError:
    """What the operating system refused, with the path and what to do about it."""
    path = str(error.filename or "")
    fixes: dict[type[OSError], str] = {
        PermissionError: f"check who may write {path}, or name another path",
        FileNotFoundError: f"make {path}, or name another path",
        FileExistsError: f"move {path} away, or name another path",
        NotADirectoryError: f"move the file away that stands in {path}, or name another path",
    }
    kind = PermissionError if error.errno == errno.EROFS else type(error)
    fix = fixes.get(kind, "") if path else ""
    return HeadraceError(
        "the system refused",
        where=path,
        why=error.strerror or str(error),
        fix=fix or "HEADRACE_DEBUG=1 shows where it happened",
    )


def _wrong_call(error: click.ClickException, *, as_json: bool) -> int:
    """Render what click refused, in the shape of every other error; a group without a command gets its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx is not None else "headrace"
    Output(json=as_json).error(UsageError(_clause(error.format_message()), fix=f"{path} --help says what is allowed"))
    return UsageError.exit_code


def _clause(message: str) -> str:
    """A sentence of click's as one of ours begins and ends."""
    return message[:1].lower() + message[1:].rstrip().removesuffix(".")
