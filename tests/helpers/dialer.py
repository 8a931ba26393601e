"""A process with the node's transport that tells, by CLOCK_MONOTONIC in ns, when each probe was handed over and when one came.

With a peer it sends `--count` probes, one every `--every` seconds: "sent NONCE TIME". Always: "heard NONCE TIME".
"""

from __future__ import annotations

import argparse
import asyncio
import time

from opus_node.core.messages import Message, Probe
from opus_node.transport import Transport


async def dial(me: str, peer: str, count: int, every: float) -> None:
    def heard(source: str, message: Message) -> None:
        if isinstance(message, Probe):
            print(f"heard {message.nonce} {time.monotonic_ns()}", flush=True)

    transport = Transport(me, heard, lambda peer: None)
    transport.bind()
    await transport.start()
    print("ready", flush=True)
    for nonce in range(count if peer else 0):
        print(f"sent {nonce} {time.monotonic_ns()}", flush=True)
        transport.send(peer, Probe(nonce))
        await asyncio.sleep(every)
    if not peer:
        await asyncio.Event().wait()
    await transport.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("me")
    parser.add_argument("--peer", default="")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--every", type=float, default=0.5)
    options = parser.parse_args()
    asyncio.run(dial(options.me, options.peer, options.count, options.every))
