"""Settings: read once from flags, environment, project, user and system, then frozen, each with its origin.

``headrace.toml`` in the project, the same file in the user's and the system's configuration folder. Keys of
``[env.<name>]`` hold for that environment only; the same keys at the top of the file hold for all of them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeGuard

from headrace.errors import SettingsError

PROJECT_FILE = "headrace.toml"
PIPELINE_FILE = "pipeline.py"
DEFAULT_ENV = "laptop"
_TABLES = ("env", "endpoint", "contract", "promotion", "project")


@dataclass(frozen=True)
class Settings:
    """Every setting, with its value here.

    Attributes:
        root: The project folder: where ``headrace.toml`` or ``pipeline.py`` lies.
        env: Name of the environment: which engine fulfils each port.
        home: Folder of the project's state, relative to the project.
        store: Where objects are kept: ``local`` or a URI.
        store_cache_mb: MiB of local copies of objects, where the store is elsewhere.
        tables: The table engine: ``duckdb`` or a URI.
        steps: Where steps run: ``local`` or a URI.
        stream: Where request logs are kept: ``local`` or a URI.
        scorers: Where endpoints score: ``here`` in the gateway, or in ``workers`` (needs a stream between processes).
        ledger: Where facts are kept: ``sqlite`` or a URI.
        online: Where features are kept to be read by key: ``sqlite`` or a URI.
        services: What runs services: ``local``.
        sampler: The search strategy: ``optuna``.
        tracking: The mirror of training runs: ``mlflow``, ``off``, or ``auto`` (mlflow where it is installed).
        workers: Worker processes; 0 means one a core.
        tables_memory_mb: MiB that the table engine takes in each process before it spills to disk; 0 means a share of
            the machine's.
        model_memory_mb: MiB of private memory that a model in a worker process may take.
        host: Address that servers bind.
        port: Port of the gateway; 0 means a free one.
        gateway: Which gateway commands mean: its name, where a project has several on one machine, or the URL of one
            on another host.
        tls_certificate: PEM file of the certificate that the gateway shows, relative to the project; none where empty.
        tls_key: PEM file of its key.
        tls_client_ca: PEM file of the authority whose certificates callers must show, relative to the project; none is
            asked for where empty.
        client_certificate: PEM file of a certificate and its key that commands show a gateway which asks for one.
        allowed_hosts: Names by which the gateway may be addressed besides its addresses, commas between.
        allowed_origins: Origins whose web pages may ask the gateway, commas between.
        token_file: A file with the token that commands send to the gateway.
        metrics_names: Whose names the gateway's metrics have, commas between: ``headrace``, ``tensorflow``, ``triton``.
        endpoints: ``[endpoint.<name>]`` tables as written.
        contracts: ``[contract.<dataset>]`` tables as written.
        promotion: The ``[promotion]`` table as written.
        origins: Setting name to where its value came from.
    """

    root: Path
    env: str = DEFAULT_ENV
    home: str = ".headrace"
    store: str = "local"
    store_cache_mb: int = 10240
    tables: str = "duckdb"
    steps: str = "local"
    stream: str = "local"
    scorers: str = "here"
    ledger: str = "sqlite"
    online: str = "sqlite"
    services: str = "local"
    sampler: str = "optuna"
    tracking: str = "auto"
    workers: int = 0
    tables_memory_mb: int = 0
    model_memory_mb: int = 2048
    host: str = "127.0.0.1"
    port: int = 8700
    gateway: str = "gateway"
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    client_certificate: str = ""
    allowed_hosts: str = ""
    allowed_origins: str = ""
    token_file: str = ""
    metrics_names: str = "headrace"
    endpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    contracts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    promotion: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def home_path(self) -> Path:
        """The state folder, absolute."""
        return self.root / self.home

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Name, value as it may be shown, and origin of every setting, in order of declaration."""
        for name in NAMES:
            yield name, shown(getattr(self, name)), self.origins.get(name, "default")


_WRITTEN = {"endpoints": "endpoint", "contracts": "contract", "promotion": "promotion"}
NAMES = tuple(f.name for f in fields(Settings) if f.name not in {"root", "origins", *_WRITTEN})


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number as TOML and JSON have them; ``true``, text and several values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> Any:
    """A value as it may be printed: who logs in to a URI, and with what, is left out."""
    if not isinstance(value, str) or "://" not in value:
        return value
    scheme, _, rest = value.partition("://")
    rest, asks, _ = rest.partition("?")
    _, at, host = rest.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{host}{'?***' if asks else ''}"


def find_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` with ``headrace.toml`` or ``pipeline.py``; else ``start`` itself."""
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file() or (folder / PIPELINE_FILE).is_file():
            return folder
    return start


def load_settings(root: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read all sources; flag over environment variable over project over user over system over default.

    Args:
        root: The project folder; by default found from the working directory upwards.
        flags: What the command line gave; None values count as not given.

    Raises:
        SettingsError: Unknown name or environment, wrong type, or a file that is not TOML.
    """
    root = find_root(Path.cwd()) if root is None else root
    given = {k: v for k, v in (flags or {}).items() if v is not None}
    files = [(path, _read(path)) for path in (root / PROJECT_FILE, *_config_files())]
    environment = _from_environment()
    env = given.get("env") or environment.get("env") or next((d["env"] for _, d in files if _is_name(d)), DEFAULT_ENV)
    layers: list[tuple[str, Mapping[str, Any]]] = [("flag", given)]
    layers += [(f"environment HEADRACE_{k.upper()}", {k: v}) for k, v in environment.items()]
    for path, data in files:
        layers += [(f"{path} [env.{env}]", _environment_table(data, env)), (str(path), _plain(data))]
    _refuse_unknown_environment(env, files)
    values: dict[str, Any] = {"env": env}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for name, value in layer.items():
            if name not in origins:
                values[name], origins[name] = _typed(name, value, origin), origin
    project = files[0][1]
    values |= {name: dict(project.get(table, {})) for name, table in _WRITTEN.items()}
    return Settings(root=root, origins=origins, **values)


def _refuse_unknown_environment(env: str, files: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    known = sorted(
        {DEFAULT_ENV, *(name for _, data in files if isinstance(data.get("env"), dict) for name in data["env"])}
    )
    if env in known:
        return
    import difflib  # only a typo needs it

    near = difflib.get_close_matches(env, known, 1)
    fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}; or add [env.{env}] to {PROJECT_FILE}"
    raise SettingsError(f"no environment {env!r}", why=f"no file has a table [env.{env}]", fix=fix)


def _is_name(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("env"), str)


def _config_files() -> list[Path]:
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [user / "headrace" / PROJECT_FILE, Path("/etc/headrace") / PROJECT_FILE]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise SettingsError(
            "settings cannot be read", where=str(path), why=str(error), fix="save it as UTF-8"
        ) from error
    import tomllib  # most folders have no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fix = f"mend {path} there; values are written as TOML: text in quotes"
        raise SettingsError("settings cannot be read", where=str(path), why=str(error), fix=fix) from error


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in _TABLES}


def _environment_table(data: Mapping[str, Any], env: str) -> Mapping[str, Any]:
    tables = data.get("env")
    return tables.get(env, {}) if isinstance(tables, dict) else {}


def _from_environment() -> dict[str, str]:
    return {n: v for n in NAMES if (v := os.environ.get(f"HEADRACE_{n.upper()}"))}


def _typed(name: str, value: Any, origin: str) -> Any:
    if name not in NAMES:
        import difflib  # only a typo needs it

        near = difflib.get_close_matches(name, NAMES, 1)
        fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(NAMES)}"
        raise SettingsError(f"unknown setting {name!r}", where=origin, fix=fix)
    if isinstance(getattr(Settings, name), int):
        try:
            return int(value)
        except (TypeError, ValueError):
            fix = f"for example {name} = {getattr(Settings, name)}"
            what = f"setting {name!r} is {shown(value)!r}"
            raise SettingsError(what, where=origin, why="a whole number is due", fix=fix) from None
    if not isinstance(value, str):
        raise SettingsError(
            f"setting {name!r} is {shown(value)!r}",
            where=origin,
            why="text is due",
            fix=f'for example {name} = "{getattr(Settings, name)}"',
        )
    return value
