"""The gRPC server of a gateway in a thread of this process."""

from contextlib import contextmanager

import grpc

from headrace.gateway.rpc.server import RpcServer


@contextmanager
def rpc_channel(gate, control=None):
    """A channel to the gRPC port of ``gate``; a control port with ``control``."""

    async def start():
        server = RpcServer(gate.plane, control)
        return server, await server.listen("127.0.0.1", 0)

    server, port = gate.call(start())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    gate.call(server.close())
