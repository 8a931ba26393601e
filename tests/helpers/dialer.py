"""A process with the node's transport that tells, by CLOCK_MONOTONIC in ns, when each probe was handed over and when one came.

With a peer it sends a probe for every line it reads ("sent NONCE TIME"), and says "unreachable" when told so of the peer.
Always: "heard NONCE TIME".
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from opus_node.core.messages import Message, Probe
from opus_node.transport import Transport


async def dial(me: str, peer: str) -> None:
    def heard(source: str, message: Message) -> None:
        if isinstance(message, Probe):
            print(f"heard {message.nonce} {time.monotonic_ns()}", flush=True)

    transport = Transport(me, heard, lambda peer: print(f"unreachable 0 {time.monotonic_ns()}", flush=True))
    transport.bind()
    await transport.start()
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        nonce = int(line)
        print(f"sent {nonce} {time.monotonic_ns()}", flush=True)
        transport.send(peer, Probe(nonce, stream=True))
    await transport.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("me")
    parser.add_argument("--peer", default="")
    options = parser.parse_args()
    asyncio.run(dial(options.me, options.peer))
