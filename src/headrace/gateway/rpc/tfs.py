"""TensorFlow Serving's PredictionService and ModelService over the data plane."""

from collections import Counter
from typing import Any

from headrace.errors import NotFound, SignatureError, UnknownSignature, UsageError
from headrace.gateway.answers import versions_of
from headrace.gateway.oip_request import parse_tensors
from headrace.gateway.rpc.calls import Offered, Rpc, at_once, score, unary
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.rpc.tfs_tensors import read_tensor, type_number, write_tensor
from headrace.gateway.tfs import METHODS, version_states
from headrace.gateway.tfs_examples import (
    check_outputs,
    classes_of,
    of_examples,
    of_serialised,
    takes_examples,
    values_of,
)
from headrace.gateway.tfs_flat import flattened, made_upright
from headrace.models.signature import DEFAULT_SIGNATURE, Column, Tensor
from headrace.models.tensors import word_cell
from headrace.placement.access import Scope
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.signed import signatures, signed

_PREDICTION, MODEL_SERVICE = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_STATES = {"LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}
_CODES = {"OK": 0, "UNAVAILABLE": 14}
_SIGNATURES = "signature_def"


class ServingServices(Offered):
    """The calls of both services by name.

    Args:
        plane: What scores; every call runs on its event loop.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        prediction, model = f"/{_PREDICTION}", f"/{MODEL_SERVICE}"
        scores, read = Scope.SCORE, Scope.READ
        self.calls = {
            f"{prediction}/Predict": Rpc(unary(SERVING.PredictRequest, self._predict), scores),
            f"{prediction}/Classify": Rpc(unary(SERVING.ClassificationRequest, self._classify), scores),
            f"{prediction}/Regress": Rpc(unary(SERVING.RegressionRequest, self._regress), scores),
            f"{prediction}/MultiInference": Rpc(unary(SERVING.MultiInferenceRequest, self._several), scores),
            f"{prediction}/GetModelMetadata": Rpc(
                unary(SERVING.GetModelMetadataRequest, at_once(self._metadata)), read
            ),
            f"{model}/GetModelStatus": Rpc(unary(SERVING.GetModelStatusRequest, at_once(self._status)), read),
        }

    def _find(self, spec: Any) -> Live:
        return signed(self._named(spec), spec.signature_name)

    def _for_examples(self, spec: Any) -> Live:
        """To TensorFlow Serving an unknown signature is another fault here, with a code of its own."""
        try:
            return self._find(spec)
        except UnknownSignature:
            raise UsageError(f"No signature was found with the name: {spec.signature_name[:100]}") from None

    def _named(self, spec: Any) -> Live:
        try:
            if spec.version_label:
                return self._plane.label(spec.name, spec.version_label)
            if spec.HasField("version"):
                return self._plane.version(spec.name, spec.version.value)
            return self._plane.live(spec.name)
        except NotFound as error:
            version = f"Specific({spec.name}, {spec.version.value})" if spec.HasField("version") else ""
            which = version or f"Latest({spec.name})"
            raise NotFound(f"Servable not found for request: {which}", why=str(error)) from None

    async def _predict(self, request: Any) -> Any:
        live = self._find(request.model_spec)
        known = {field.name: field.dtype for field in live.signature.outputs}
        strange = set(request.output_filter) - known.keys()
        if strange:
            raise SignatureError(f"there is no output {min(strange)}", why=f"there is {', '.join(known)}")
        sent = [read_tensor(name, tensor) for name, tensor in request.inputs.items()]
        pairs, flat = made_upright(sent, live.decoder)
        answer = await score(self._plane, live, parse_tensors(live.decoder, pairs))
        outputs = flattened(answer.outputs, live.signature) if flat else answer.outputs
        reply = SERVING.PredictResponse(model_spec=_spec(request, live, answer))
        for name in request.output_filter or known:
            reply.outputs[name].CopyFrom(write_tensor(outputs[name], known[name]))
        return reply

    async def _classify(self, request: Any) -> Any:
        live = self._for_examples(request.model_spec)
        answer = await self._examples("classify", live, request)
        reply = SERVING.ClassificationResponse(model_spec=_spec(request, live, answer))
        for pairs in classes_of(answer):
            row = reply.result.classifications.add()
            for label, value in pairs:
                row.classes.add(label=label, score=value)
        return reply

    async def _regress(self, request: Any) -> Any:
        live = self._for_examples(request.model_spec)
        answer = await self._examples("regress", live, request)
        reply = SERVING.RegressionResponse(model_spec=_spec(request, live, answer))
        for value in values_of(answer):
            reply.result.regressions.add(value=value)
        return reply

    async def _several(self, request: Any) -> Any:
        """One input for several tasks, each scored and logged as if it had been asked alone."""
        if len({task.model_spec.name for task in request.tasks}) != 1:
            raise UsageError("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        asked_for = Counter((task.model_spec.signature_name, task.method_name) for task in request.tasks)
        ((name, _), times), *_ = asked_for.most_common(1)
        if times > 1:  # else a small message could ask for a hundred thousand scores
            raise UsageError(f"Duplicate evaluation of signature: {name[:100] or DEFAULT_SIGNATURE}")
        reply = SERVING.MultiInferenceResponse()
        for task in request.tasks:
            asked = {"model_spec": task.model_spec, "input": request.input}
            if task.method_name == f"{METHODS}classify":
                told = await self._classify(SERVING.ClassificationRequest(**asked))
                reply.results.add(model_spec=told.model_spec, classification_result=told.result)
            elif task.method_name == f"{METHODS}regress":
                told = await self._regress(SERVING.RegressionRequest(**asked))
                reply.results.add(model_spec=told.model_spec, regression_result=told.result)
            else:
                raise UsageError(f"Unsupported signature method_name: {task.method_name[:100]}")
        return reply

    async def _examples(self, method: str, live: Live, request: Any) -> Answer:
        check_outputs(method, live.signature)
        shared = request.input.example_list_with_context
        examples = shared.examples if request.input.HasField("example_list_with_context") else None
        examples = examples or request.input.example_list.examples
        if takes_examples(live.signature):  # the context first: what an example says of a feature counts
            context = shared.context.SerializeToString()
            given = of_serialised(live.decoder, [context + example.SerializeToString() for example in examples])
        else:
            given = of_examples(live.decoder, list(map(_features, examples)), _features(shared.context))
        return await score(self._plane, live, given)

    def _metadata(self, request: Any) -> Any:
        if list(request.metadata_field) != [_SIGNATURES]:
            raise UsageError(f"metadata_field must be {[_SIGNATURES]}")
        live = self._named(request.model_spec)  # whatever signature it names, all are told
        known = SERVING.SignatureDefMap()
        for signature in signatures(live):
            told = known.signature_def[signature.name or DEFAULT_SIGNATURE]
            told.method_name = f"{METHODS}{signature.method}"
            for fields, described in ((signature.inputs, told.inputs), (signature.outputs, told.outputs)):
                for field in fields:
                    _describe(described[field.name], field)
        reply = SERVING.GetModelMetadataResponse()
        reply.model_spec.name = request.model_spec.name
        reply.model_spec.version.value = int(versions_of(live)[0])
        reply.metadata[_SIGNATURES].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        reply.metadata[_SIGNATURES].value = known.SerializeToString()
        return reply

    def _status(self, request: Any) -> Any:
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        reply = SERVING.GetModelStatusResponse()
        for found in version_states(self._plane, spec.name, version, spec.version_label or None):
            row = reply.model_version_status.add(version=found.version, state=_STATES[found.state])
            row.status.error_code, row.status.error_message = _CODES[found.code], found.why
        return reply


def _spec(request: Any, live: Live, answer: Answer) -> Any:
    spec = SERVING.ModelSpec(name=request.model_spec.name, signature_name=live.signature.name or DEFAULT_SIGNATURE)
    version = answer.winner.partition("@")[2]
    if version:
        spec.version.value = int(version)
    return spec


def _describe(told: Any, field: Column | Tensor) -> None:
    told.name, told.dtype = f"{field.name}:0", type_number(field.dtype)
    for extent in field.shape if isinstance(field, Tensor) else (-1,):
        told.tensor_shape.dim.add(size=extent)


def _features(example: Any) -> dict[str, Any]:
    """Features of a ``tf.Example`` as lists of values."""
    found: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        cells = [*feature.float_list.value, *feature.int64_list.value]
        found[name] = cells + [word_cell(value) for value in feature.bytes_list.value]
    return found
