"""``inference.GRPCInferenceService`` over the data plane: what Triton's and KServe's clients call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from headrace import __version__
from headrace.errors import HeadraceError, NotFound, Unavailable, UsageError
from headrace.gateway.answers import version_number, versions_of
from headrace.gateway.control import check_parameters
from headrace.gateway.faults import said
from headrace.gateway.oip_reply import wanted_outputs
from headrace.gateway.oip_request import DATATYPES, SIGNATURE
from headrace.gateway.routes import ANYBODY, Needed
from headrace.gateway.rpc.calls import Call, Offered, Rpc, answering, at_once, parsed, score, unary
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tensors import parse_request, reply_to
from headrace.gateway.triton import EXTENSIONS, configuration, index, statistics
from headrace.models.signature import Column, Tensor
from headrace.placement.access import Scope
from headrace.serving.dataplane import DataPlane
from headrace.serving.keeper import Keeper
from headrace.serving.rendezvous import Live
from headrace.serving.signed import signed

_SERVICE = "inference.GRPCInferenceService"
# Triton's enumeration of datatypes, in its order.
_TYPES = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "STRING"),
)


class InferenceService(Offered):
    """The calls of the service by name.

    Args:
        plane: What scores; every call runs on its event loop.
        keeper: Loads and unloads; None where nothing may be changed.
    """

    def __init__(self, plane: DataPlane, keeper: Keeper | None = None) -> None:
        self._plane, self._keeper = plane, keeper
        reads: dict[str, tuple[Callable[[Any], Any], Needed]] = {
            "ServerLive": (self._server_live, ANYBODY),
            "ServerReady": (self._server_ready, ANYBODY),
            "ModelReady": (self._model_ready, Scope.READ),
            "ServerMetadata": (self._server_metadata, Scope.READ),
            "ModelMetadata": (self._model_metadata, Scope.READ),
            "ModelConfig": (self._model_config, Scope.READ),
            "ModelStatistics": (self._model_statistics, Scope.READ),
            "RepositoryIndex": (self._index, Scope.READ),
        }
        calls: dict[str, tuple[Call, Needed]] = {
            name: (at_once(read), needed) for name, (read, needed) in reads.items()
        }
        calls |= {
            "ModelInfer": (self._scored, Scope.SCORE),
            "RepositoryModelLoad": (self._load, Scope.DEPLOY),
            "RepositoryModelUnload": (self._unload, Scope.DEPLOY),
        }
        stream = grpc.stream_stream_rpc_method_handler(
            self._stream, response_serializer=INFERENCE.ModelStreamInferResponse.SerializeToString
        )
        self.calls = {
            f"/{_SERVICE}/{name}": Rpc(unary(getattr(INFERENCE, f"{name}Request"), call), needed)
            for name, (call, needed) in calls.items()
        } | {f"/{_SERVICE}/ModelStreamInfer": Rpc(stream, Scope.SCORE)}

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            answering(context, INFERENCE.ModelInferRequest, message)
            try:
                request = parsed(INFERENCE.ModelInferRequest, message)
                yield INFERENCE.ModelStreamInferResponse(infer_response=await self._scored(request))
            except HeadraceError as error:
                yield INFERENCE.ModelStreamInferResponse(error_message=said(error))

    async def _scored(self, request: Any) -> Any:
        live = self._find(request.model_name, request.model_version)
        if SIGNATURE in request.parameters:
            live = signed(live, request.parameters[SIGNATURE].string_param)
        try:
            asked, given = parse_request(live.decoder, request)
            wanted = list(wanted_outputs(asked, live.signature))
        except UsageError:
            live.counters.refused += 1
            raise
        answer = await score(self._plane, live, given)
        return reply_to(request, answer, live.signature, wanted)

    async def _load(self, request: Any) -> Any:
        check_parameters("load", request.parameters)
        await asyncio.wrap_future(self._changing().load(request.model_name))
        return INFERENCE.RepositoryModelLoadResponse()

    async def _unload(self, request: Any) -> Any:
        check_parameters("unload", request.parameters)
        await asyncio.wrap_future(self._changing().unload(request.model_name))
        return INFERENCE.RepositoryModelUnloadResponse()

    def _changing(self) -> Keeper:
        if self._keeper is None:
            raise UsageError(
                "models are not loaded or unloaded on the scoring port",
                fix="use the control port (--control-grpc-port)",
            )
        return self._keeper

    def _find(self, name: str, version: str) -> Live:
        if not version:
            return self._plane.live(name)
        return self._plane.version(name, version_number(version))

    def _server_live(self, _request: Any) -> Any:
        return INFERENCE.ServerLiveResponse(live=True)

    def _server_ready(self, _request: Any) -> Any:
        return INFERENCE.ServerReadyResponse(ready=self._plane.ready)

    def _model_ready(self, request: Any) -> Any:
        try:
            self._find(request.name, request.version)
        except (NotFound, Unavailable):  # Triton's clients wait so for a model that is not there yet
            return INFERENCE.ModelReadyResponse(ready=False)
        return INFERENCE.ModelReadyResponse(ready=True)

    def _server_metadata(self, _request: Any) -> Any:
        return INFERENCE.ServerMetadataResponse(name="headrace", version=__version__, extensions=EXTENSIONS)

    def _model_metadata(self, request: Any) -> Any:
        live = self._find(request.name, request.version)
        reply = INFERENCE.ModelMetadataResponse(name=request.name, versions=versions_of(live), platform="headrace")
        for fields, described in (
            (live.decoder.signature.inputs, reply.inputs),
            (live.signature.outputs, reply.outputs),
        ):
            for field in fields:
                described.add(name=field.name, datatype=DATATYPES[field.dtype], shape=_extents(field))
        return reply

    def _model_config(self, request: Any) -> Any:
        found = configuration(self._find(request.name, request.version))
        reply = INFERENCE.ModelConfigResponse()
        config = reply.config
        config.name, config.platform, config.backend = found["name"], found["platform"], found["backend"]
        for part in ("input", "output"):
            for field in found[part]:
                kind = _TYPES.index(field["data_type"].removeprefix("TYPE_"))
                getattr(config, part).add(name=field["name"], data_type=kind, dims=field["dims"])
        return reply

    def _model_statistics(self, request: Any) -> Any:
        if request.name:
            served = [self._find(request.name, request.version)]
        else:
            names = [name for name in self._plane.names if self._plane.status(name).deployment is not None]
            served = [self._plane.live(name) for name in names]
        reply = INFERENCE.ModelStatisticsResponse()
        for live in served:
            for row in statistics(live):
                del row["memory_usage"]
                reply.model_stats.add(**row)
        return reply

    def _index(self, request: Any) -> Any:
        return INFERENCE.RepositoryIndexResponse(models=index(self._plane, ready=request.ready))


def _extents(field: Column | Tensor) -> list[int]:
    return list(field.shape) if isinstance(field, Tensor) else [-1]
