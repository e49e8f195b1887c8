"""Load on a gateway's gRPC port: threads with one call under way each, on connections of their own."""

import threading
import time
from collections import Counter

import grpc

from headrace.gateway.rpc.messages import INFERENCE

BOUND_S = 30.0
_OWN = (("grpc.use_local_subchannel_pool", 1),)


def infer(endpoint, columns):
    """A ``ModelInferRequest`` of one row of numbers."""
    request = INFERENCE.ModelInferRequest(model_name=endpoint)
    for name, value in columns.items():
        tensor = request.inputs.add(name=name, datatype="FP64", shape=[1])
        tensor.contents.fp64_contents.append(value)
    return request


class RpcLoad:
    """Asks until it is ended, or the server goes.

    Args:
        address: Of a gateway's gRPC port.
        requests: What to ask, in turn.
        threads: How many at once.
        pause_s: How long each rests before it asks again.
        within_s: How long it waits for a reply before it gives the call up.

    Attributes:
        seen: How often a call ended with this code, and for faults with what was said.
        ids: Of the replies.
        unlogged: Those among them that say that they are not in the log.
        given_up: When each call that it gave up was begun, and when it was given up, in Unix seconds.
    """

    def __init__(self, address, requests, threads=2, pause_s=0.0, within_s=10.0):
        self.seen, self.ids, self.unlogged, self._requests = Counter(), [], [], requests
        self._stop, self._pause_s, self._within_s = threading.Event(), pause_s, within_s
        self.given_up = []
        self._threads = [threading.Thread(target=self._ask, args=(address,)) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _ask(self, address):
        with grpc.insecure_channel(address, _OWN) as channel:
            method = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=INFERENCE.ModelInferResponse.FromString,
            )
            while not self._stop.wait(self._pause_s):
                begun = time.time()
                try:
                    request = self._requests[len(self.ids) % len(self._requests)]
                    reply, call = method.with_call(request, timeout=self._within_s)
                except grpc.RpcError as error:
                    self.seen[error.code().name, error.details()] += 1
                    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                        self.given_up.append((begun, time.time()))
                    if error.code() == grpc.StatusCode.UNAVAILABLE:  # it has gone
                        return
                else:
                    self.seen["OK", ""] += 1
                    self.ids.append(reply.id)
                    if ("x-headrace-logged", "false") in (call.trailing_metadata() or ()):
                        self.unlogged.append(reply.id)

    def wait_for(self, count):
        """Wait until so many were answered."""
        until = time.monotonic() + BOUND_S
        while len(self.ids) < count:
            assert time.monotonic() < until, self.seen
            time.sleep(0.002)

    def end(self):
        """Send no more, wait for what is under way; return ``seen``."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._within_s + BOUND_S)
        return self.seen
