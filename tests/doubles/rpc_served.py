"""The gRPC server of a gateway in a thread of this process."""

from contextlib import contextmanager

import grpc

from headrace.gateway.rpc.server import RpcServer


@contextmanager
def rpc_address(gate, control=None, access=None):
    """The address of a gRPC port of ``gate``; a control port with ``control``, for who has one of the tokens of ``access``."""

    async def start():
        server = RpcServer(gate.plane, control, access)
        return server, await server.listen("127.0.0.1", 0)

    server, port = gate.call(start())
    yield f"127.0.0.1:{port}"
    gate.call(server.close())


@contextmanager
def rpc_channel(gate, control=None, access=None):
    """A channel to such a port."""
    with rpc_address(gate, control, access) as address, grpc.insecure_channel(address) as channel:
        yield channel
