"""The typed client of a gateway: rows or columns in, outputs out, errors as everywhere in headrace."""

import base64
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack
from urllib.parse import quote, urlsplit

from headrace.client.connection import Connection, Reply, Way
from headrace.client.credentials import check_way, checked_token, own_token, trusting
from headrace.client.overview import Overview
from headrace.errors import (
    Forbidden,
    HeadraceError,
    NotFound,
    Overloaded,
    SignatureError,
    Unauthorized,
    Unavailable,
    UsageError,
)

if TYPE_CHECKING:  # rows need no NumPy
    from ssl import SSLContext

    from numpy.typing import NDArray

_ERRORS: Mapping[int, type[HeadraceError]] = {
    400: SignatureError,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: SignatureError,
    422: SignatureError,
    429: Overloaded,
}
_DATATYPES: Mapping[str, str] = {"DT_HALF": "FP16", "DT_FLOAT": "FP32", "DT_DOUBLE": "FP64", "DT_STRING": "BYTES"}
"""What the Open Inference Protocol calls otherwise than TensorFlow."""
_UNREADY = 503
"""Of a status: no version can score now."""


@dataclass(frozen=True)
class Answer:
    """What a gateway answered.

    Attributes:
        id: Of the request: ``headrace serving explain`` tells more about it.
        values: One per row; a number, or output name to number where the endpoint has several outputs.
        winner: Model version that answered, or ``default``.
        elapsed_s: From arrival to reply, by the server's clock.
        logged: False when the request log could not be written although the endpoint promises it.
    """

    id: str
    values: Sequence[Any]
    winner: str
    elapsed_s: float
    logged: bool = True


class How(TypedDict, total=False):
    """How ``Client.predict`` asks, besides the endpoint and its input.

    Attributes:
        version: Of the preferred model alone; None for the endpoint's schedule.
        label: An alias of the preferred model, such as ``challenger``, likewise.
        signature: Which of the model's signatures is asked; the one it serves unasked by default.
        params: Those of the model, by name; the others keep their defaults.
        headers: To send, such as the key of a split.
    """

    version: int | None
    label: str
    signature: str
    params: Mapping[str, Any]
    headers: Mapping[str, str] | None


class Client:
    """Talks to one gateway; may be shared between threads, each of which gets a connection of its own.

    Args:
        address: ``http://127.0.0.1:8700``, ``https://models.example.org``.
        token: What it shows the gateway; by default that of ``HEADRACE_TOKEN``, or in the file ``HEADRACE_TOKEN_FILE``,
            if any.
        tls: Whom it trusts, of ``https``; by default what the system trusts, or ``SSL_CERT_FILE`` says.
        unencrypted: Whether the token may go to another host by ``http``.
        timeout_s: For connecting, and for each wait for bytes.

    Raises:
        SettingsError: The token of the environment is none.
        UsageError: The address is none, or the token would go to another host unencrypted.

    Example:
        ``Client("http://127.0.0.1:8700").predict("wine", rows=[{"alcohol": 9.4, "ph": 3.5}]).values``
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls: "SSLContext | None" = None,
        unencrypted: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        scheme, host, port = _target(address)
        self._target, encrypted = (host, port), scheme == "https"
        shown = own_token() if token is None else token and checked_token(token, "token")
        check_way(scheme, host, shown, unencrypted=unencrypted)
        self._way = Way(shown, (tls or trusting()) if encrypted else None)
        self._timeout_s = timeout_s
        self._own = threading.local()
        self._all: list[Connection] = []

    def predict(
        self,
        endpoint: str,
        *,
        rows: Sequence[Mapping[str, Any]] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        **how: Unpack[How],
    ) -> Answer:
        """Score rows (or columns), by the endpoint's schedule, or by one version of its preferred model alone.

        Args:
            endpoint: Its name.
            rows: One mapping of columns to cells a row; for a model of one tensor, nested lists. A cell
                may be ``bytes``.
            columns: Column to its cells; or tensor to nested lists.
            **how: ``version``, ``label``, ``signature``, ``params`` and ``headers``; see ``How``.

        Raises:
            SignatureError: The input or a parameter does not fit the model; names it. Or it has no such signature.
            NotFound: No such endpoint or version.
            Unauthorized: The gateway asks for a token; ``Forbidden`` when ours is not for this.
            Overloaded: Too many requests wait; its ``retry_after_s`` says when to try again.
            Unavailable: No server, or it is not ready.
        """
        signature, params = how.get("signature", ""), how.get("params", {})
        given: dict[str, Any] = {"signature_name": signature} if signature else {}
        given |= {"parameters": params} if params else {}
        given |= {"instances": rows} if columns is None else {"inputs": columns}
        body, which = json.dumps(given, allow_nan=False, default=_b64).encode(), how.get("version")
        reply = self.raw(endpoint, body, version=which, label=how.get("label", ""), headers=how.get("headers"))
        _check_used(reply, params)
        return answer(reply)

    def infer(
        self,
        endpoint: str,
        inputs: Mapping[str, "NDArray[Any]"],
        *,
        version: int | None = None,
        signature: str = "",
    ) -> "tuple[Answer, Mapping[str, NDArray[Any]]]":
        """Score tensors as raw bytes, the shortest way for large ones.

        Args:
            endpoint: Its name.
            inputs: Tensor to array, rows first; for a table column to array.
            version: Of the preferred model; None for the endpoint's schedule.
            signature: Which of the model's signatures is asked; empty for the one it serves unasked.

        Returns:
            The answer, whose values are the first output's, and all outputs by name.

        Raises:
            SignatureError: A tensor does not fit the model; names it. Or it has no such signature.
            Overloaded: Too many requests wait.
            Unavailable: No server, or it is not ready.
        """
        from headrace.client.tensors import packed, unpacked

        which = "" if version is None else f"/versions/{version}"
        body, headers = packed(inputs, {"signature_name": signature} if signature else {})
        reply = checked(self.request("POST", f"/v2/models/{quote(endpoint, safe='')}{which}/infer", body, headers))
        outputs = unpacked(reply)[1]
        return _answer(reply, next(iter(outputs.values()))), outputs

    def raw(
        self,
        endpoint: str,
        body: bytes,
        *,
        version: int | None = None,
        label: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a predict body as it is and return the reply as it came, whatever its status."""
        which = f"/versions/{version}" if version is not None else f"/labels/{quote(label, safe='')}" if label else ""
        return self.request("POST", f"/v1/models/{quote(endpoint, safe='')}{which}:predict", body, headers)

    def status(self, endpoint: str) -> list[dict[str, Any]]:
        """Versions of the endpoint's preferred model with their state, also while none can score."""
        reply = self.request("GET", f"/v1/models/{quote(endpoint, safe='')}")
        told = json.loads(reply.body if reply.status == _UNREADY else checked(reply).body)
        found: list[dict[str, Any]] = told["model_version_status"]
        return found

    def metadata(self, endpoint: str, signature: str = "") -> dict[str, Any]:
        """Inputs and outputs with their types, as the Open Inference Protocol describes them.

        Args:
            endpoint: Its name.
            signature: Which of the model's signatures; empty for the one that is served unasked.

        Raises:
            SignatureError: There is no such signature.
            NotFound: No such endpoint.
            Unavailable: No server, or it is not ready.
        """
        found: dict[str, Any] = self._json(f"/v2/models/{quote(endpoint, safe='')}")
        if not signature:
            return found
        told = self._json(f"/v1/models/{quote(endpoint, safe='')}/metadata")["metadata"]["signature_def"][
            "signature_def"
        ]
        if signature not in told:
            raise SignatureError(f"there is no signature {signature!r}", why=f"there is {', '.join(sorted(told))}")
        return found | {part: _tensors(told[signature][part]) for part in ("inputs", "outputs")}

    def overview(self) -> Overview:
        """Every endpoint with its versions, what they take of memory, and what it was asked."""
        import msgspec  # what scores needs none of it

        return msgspec.json.decode(checked(self.request("GET", "/overview")).body, type=Overview)

    def metrics(self) -> dict[str, float]:
        """Every metric by its name with labels (``headrace_requests_total{endpoint="wine"}``)."""
        text = checked(self.request("GET", "/metrics")).body.decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def ready(self) -> bool:
        """Whether every endpoint can answer; False also when nobody listens."""
        try:
            return self.request("GET", "/v2/health/ready").status == 200  # noqa: PLR2004 - OK
        except Unavailable:
            return False

    def wait_ready(self, within_s: float = 20.0) -> None:
        """Return once ready; raise ``Unavailable`` when that takes too long."""
        until = time.monotonic() + within_s
        while not self.ready():
            if time.monotonic() > until:
                raise Unavailable("the gateway is not ready", where=f"{self._target}", why=f"after {within_s:g} s")
            time.sleep(0.01)

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """Any request on this thread's connection; ``content-type: application/json`` unless ``headers`` say."""
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = Connection(*self._target, self._timeout_s, self._way)
            self._all.append(connection)
        return connection.request(method, path, body, headers)

    def __enter__(self) -> Self:
        """For ``with``, which closes it."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every thread's connection; call it when no thread sends any more."""
        for connection in self._all:
            connection.close()

    def _json(self, path: str) -> Any:
        return json.loads(checked(self.request("GET", path)).body)


def _target(address: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address; raise ``UsageError`` where it is none."""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        port = parts.port
    except ValueError as error:
        where, fix = address.rpartition("@")[2], "http://127.0.0.1:8700, for one"
        raise UsageError("that is no address of a gateway", where=where, why=str(error), fix=fix) from error
    return parts.scheme, parts.hostname or "127.0.0.1", port or (443 if parts.scheme == "https" else 80)


def _tensors(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tensors as TensorFlow Serving tells them, in the words of the Open Inference Protocol."""
    return [
        {
            "name": name,
            "datatype": _DATATYPES.get(tensor["dtype"], tensor["dtype"].removeprefix("DT_")),
            "shape": [int(extent["size"]) for extent in tensor["tensor_shape"]["dim"]],
        }
        for name, tensor in told.items()
    ]


def answer(reply: Reply) -> Answer:
    """The answer in a reply to a predict request; raises what ``Client.predict`` raises."""
    body = json.loads(checked(reply).body)
    return _answer(reply, body["predictions"] if "predictions" in body else body["outputs"])


def _answer(reply: Reply, values: Any) -> Answer:
    return Answer(
        id=reply.header("x-headrace-id"),
        values=values,
        winner=reply.header("x-headrace-winner"),
        elapsed_s=float(reply.header("x-headrace-elapsed-ms") or "0") / 1000,
        logged=reply.header("x-headrace-logged") != "false",
    )


def _check_used(reply: Reply, params: Mapping[str, Any]) -> None:
    """Raise where a model answered that declares no parameters: whoever says some means to have told it."""
    if said := reply.header("x-headrace-params"):
        raise SignatureError(f"params {', '.join(params)} were not used", why=said.partition(", ")[2])


def _b64(cell: Any) -> dict[str, str]:
    """Bytes, as TensorFlow Serving takes them; raise ``TypeError`` for what is not."""
    return {"b64": base64.b64encode(cell).decode()}


def checked(reply: Reply) -> Reply:
    """The reply, or the error that its status and body tell."""
    if reply.status < 400:  # noqa: PLR2004 - the first that is an error
        return reply
    try:
        text = str(json.loads(reply.body)["error"])
    except (ValueError, KeyError, TypeError):
        text = reply.body[:200].decode("utf-8", "replace")
    kind = _ERRORS.get(reply.status, Unavailable)
    error = kind(text or "the server refused", where=f"HTTP {reply.status}")
    if isinstance(error, Overloaded) and (said := reply.header("retry-after")).isdigit():
        error.retry_after_s = int(said)
    raise error
