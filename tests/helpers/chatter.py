"""A process that sends a probe to one peer every `--every` seconds and prints "heard TIME" for each that comes from it;
"ready" before all, once it listens.

With `--echo` it also sends one back for each.

TIME is CLOCK_MONOTONIC in seconds. On SIGUSR1 it prints its transport's counters as one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from dataclasses import asdict

import opus_node.main  # noqa: F401  (first: gRPC's settings as a node has them)
from opus_node.core.messages import Message, Probe
from opus_node.transport import Transport


async def chat(me: str, peer: str, every: float, number: int, echo: bool) -> None:
    def heard(source: str, message: Message) -> None:
        if echo:
            transport.send(source, message)
        print(f"heard {time.monotonic():.6f}", flush=True)

    transport = Transport(me, heard, lambda peer: print("unreachable", flush=True))
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: print(json.dumps(asdict(transport.stats)), flush=True))
    transport.bind()
    await transport.start()
    print("ready", flush=True)
    nonce = 0
    while nonce != number:
        transport.send(peer, Probe(nonce % 100, stream=True))
        nonce += 1
        await asyncio.sleep(every)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("me")
    parser.add_argument("peer")
    parser.add_argument("--every", type=float, default=0.05)
    parser.add_argument("--number", type=int, default=-1, help="of probes; -1: without end")
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args()
    asyncio.run(chat(options.me, options.peer, options.every, options.number, options.echo))
