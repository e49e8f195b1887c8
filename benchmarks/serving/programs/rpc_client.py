"""Calls ``ModelInfer`` over so many channels for so long, one call at a time each, and prints what came of it.

``python rpc_client.py HOST:PORT MESSAGE_FILE CHANNELS SECONDS``; the message travels as the bytes in the file.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OWN = (("grpc.use_local_subchannel_pool", 1),)


async def calls(address: str, message: bytes, until: float, took: list[float]) -> int:
    """Call until then; return how many calls failed."""
    failed = 0
    async with grpc.aio.insecure_channel(address, OWN) as channel:
        call = channel.unary_unary(METHOD)
        while (begun := time.monotonic()) < until:
            try:
                await call(message, timeout=10)
            except grpc.RpcError:
                failed += 1
            took.append(time.monotonic() - begun)
    return failed


async def main(address: str, message: bytes, channels: int, seconds: float) -> None:
    took: list[float] = []
    begun = time.monotonic()
    until = begun + seconds
    failed = sum(await asyncio.gather(*(calls(address, message, until, took) for _ in range(channels))))
    elapsed = time.monotonic() - begun
    took.sort()
    said = {
        "requests": len(took),
        "us": round(elapsed * 1e6),
        "p50_us": round(took[len(took) // 2] * 1e6),
        "p99_us": round(took[len(took) * 99 // 100] * 1e6),
        "failed": failed,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes(), int(sys.argv[3]), float(sys.argv[4])))
