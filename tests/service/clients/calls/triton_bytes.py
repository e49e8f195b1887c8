"""tritonclient's HTTP and gRPC clients, unmodified: bytes that are no text, and a signature chosen by a parameter.

Arguments: addresses of HTTP and of gRPC.
"""

import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

RAW = [b"\x89PNG\r\n\x00\xff", b"", "café".encode()]
x = np.array(RAW, dtype=np.object_)
for triton, address in ((tritonclient.http, sys.argv[1]), (tritonclient.grpc, sys.argv[2])):
    client = triton.InferenceServerClient(address)
    given = triton.InferInput("x", [3], "BYTES")
    given.set_data_from_numpy(x)
    assert client.infer("octets", [given]).as_numpy("y").tolist() == RAW
    named = client.infer("octets", [given], parameters={"signature_name": "lengths"})
    assert named.as_numpy("n").tolist() == [8, 0, 5]
    try:
        client.infer("octets", [given], parameters={"signature_name": "nothing"})
        refused = ""
    except InferenceServerException as error:
        refused = str(error)
    assert "not found" in refused, refused

client = tritonclient.http.InferenceServerClient(sys.argv[1])
given = tritonclient.http.InferInput("x", [2], "BYTES")
given.set_data_from_numpy(np.array(["café", "b"], dtype=np.object_), binary_data=False)
wanted = [tritonclient.http.InferRequestedOutput("y", binary_data=False)]
assert client.infer("octets", [given], outputs=wanted).as_numpy("y").tolist() == ["café", "b"]
