"""gRPC server reflection, ``v1`` and ``v1alpha``: ``grpcurl`` and its like learn here what there is to call."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from headrace.errors import UsageError
from headrace.gateway.rpc.calls import Offered, Rpc, parsed
from headrace.gateway.rpc.schema import Messages
from headrace.placement.access import Scope

_TEXT = """
message ServerReflectionRequest {
  string host = 1; string file_by_filename = 3; string file_containing_symbol = 4;
  ExtensionRequest file_containing_extension = 5; string all_extension_numbers_of_type = 6; string list_services = 7;
}
message ExtensionRequest { string containing_type = 1; int32 extension_number = 2; }
message ServerReflectionResponse {
  string valid_host = 1; ServerReflectionRequest original_request = 2;
  FileDescriptorResponse file_descriptor_response = 4;
  ExtensionNumberResponse all_extension_numbers_response = 5;
  ListServiceResponse list_services_response = 6; ErrorResponse error_response = 7;
}
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ExtensionNumberResponse { string base_type_name = 1; repeated int32 extension_number = 2; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ServiceResponse { string name = 1; }
message ErrorResponse { int32 error_code = 1; string error_message = 2; }
service ServerReflection {
  rpc ServerReflectionInfo (stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
"""
REFLECTION, _ALPHA = Messages("grpc.reflection.v1", _TEXT), Messages("grpc.reflection.v1alpha", _TEXT)
_NOT_FOUND: int = grpc.StatusCode.NOT_FOUND.value[0]
_SAID = 100


class ReflectionService(Offered):
    """Tells of the services of a port.

    Args:
        known: What is answered there.
    """

    def __init__(self, known: Sequence[Messages]) -> None:
        files = (*known, REFLECTION, _ALPHA)
        self._services = [name for one in files for name in one.services]
        self._files = {one.file.name: one.file for one in files}
        self._symbols = {f"{file.package}.{own.name}": file for file in self._files.values() for own in _declared(file)}
        # Both versions are the same bytes.
        handler = grpc.stream_stream_rpc_method_handler(
            self._talk, response_serializer=REFLECTION.ServerReflectionResponse.SerializeToString
        )
        methods = (f"/{one.file.package}.ServerReflection/ServerReflectionInfo" for one in (REFLECTION, _ALPHA))
        self.calls = dict.fromkeys(methods, Rpc(handler, Scope.READ))

    async def _talk(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            try:
                request = parsed(REFLECTION.ServerReflectionRequest, message)
            except UsageError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            reply = REFLECTION.ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._answer(request, reply)
            yield reply

    def _answer(self, request: Any, reply: Any) -> None:
        asked_for = request.file_by_filename or request.file_containing_symbol or request.all_extension_numbers_of_type
        extended = request.HasField("file_containing_extension")
        if not asked_for and not extended:  # the question for services may be empty text
            for name in self._services:
                reply.list_services_response.service.add(name=name)
            return
        file = None if extended else self._files.get(asked_for) or self._declaring(asked_for)
        if file is None:
            reply.error_response.error_code = _NOT_FOUND
            reply.error_response.error_message = f"nothing is known of {asked_for[:_SAID]!r}"
        elif request.all_extension_numbers_of_type:
            reply.all_extension_numbers_response.base_type_name = asked_for  # none has any
        else:
            reply.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())

    def _declaring(self, symbol: str) -> Any:
        """The file of a message, an enumeration, a service, or of what is within one of these."""
        whole = symbol
        while symbol and symbol not in self._symbols:
            symbol = symbol.rpartition(".")[0]
        return self._symbols.get(symbol) if len(whole) <= _SAID * 2 else None


def _declared(file: Any) -> Sequence[Any]:
    return [*file.message_type, *file.enum_type, *file.service]
