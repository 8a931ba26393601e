"""Containers beside a node, as the node sees them: wanted by it, told of by whoever starts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from opus_node.errors import LocalError
from opus_node.services import containers
from opus_node.services.containers import Containers

pytestmark = pytest.mark.clock


def played(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


async def after(listener: AsyncIterator[tuple[str, int]]) -> tuple[str, int]:
    """What is wanted next."""
    return await anext(listener)


@played
async def test_wanted_it_runs_once_that_is_told_and_ends_once_that_is() -> None:
    asked = Containers()
    listener = asked.wanted()
    starting = asyncio.create_task(asked.start("web"))
    assert await after(listener) == ("web", 1)
    assert not starting.done(), "nobody has said that it runs"
    asked.told("web", 1, "running", "")
    container = await starting
    stopping = asyncio.create_task(container.stop())
    assert await after(listener) == ("web", 0)
    assert not stopping.done(), "nobody has said that it has ended"
    asked.told("web", 1, "ended", "stopped")
    await stopping
    assert container.ended.result() == "stopped"


@played
async def test_who_listens_later_is_told_all_that_is_wanted_and_of_what_is_not() -> None:
    asked = Containers()
    first = asyncio.create_task(asked.start("web"))
    second = asyncio.create_task(asked.start("line"))
    await asyncio.sleep(0)
    asked.told("web", 1, "running", "")
    (await first).kill()
    listener = asked.wanted()
    assert {await after(listener), await after(listener)} == {("web", 0), ("line", 1)}
    second.cancel()
    assert await after(listener) == ("line", 0), "whoever gave up waiting wants it no longer"


@played
async def test_one_that_cannot_be_started_is_an_error_and_the_next_is_another_start() -> None:
    asked = Containers()
    listener = asked.wanted()
    starting = asyncio.create_task(asked.start("web"))
    assert await after(listener) == ("web", 1)
    asked.told("web", 1, "failed", "no such image")
    with pytest.raises(LocalError, match="no such image"):
        await starting
    again = asyncio.create_task(asked.start("web"))
    while (wanted := await after(listener)) == ("web", 0):
        pass
    assert wanted == ("web", 2)
    asked.told("web", 1, "running", "")
    await asyncio.sleep(0)
    assert not again.done(), "that was about the first"
    asked.told("web", 2, "ended", "ended with exit code 1: no configuration")
    container = await again
    assert container.ended.result() == "ended with exit code 1: no configuration"


@played
async def test_what_it_consumes_is_what_whoever_has_the_engine_tells() -> None:
    asked = Containers()
    starting = asyncio.create_task(asked.start("web"))
    await asyncio.sleep(0)
    asked.told("web", 1, "running", "")
    container = await starting
    reading = asyncio.create_task(container.consumed())
    await asyncio.sleep(0)
    asked.told("web", 1, "running", "")
    await asyncio.sleep(0)
    assert not reading.done(), "nothing was said of that"
    asked.told("web", 1, "running", "", 70_000_000)
    asked.told("web", 1, "running", "", 80_000_000)
    assert await reading == 70_000_000
    reading = asyncio.create_task(container.consumed())
    await asyncio.sleep(0)
    asked.told("web", 1, "running", "", 90_000_000)
    assert await reading == 90_000_000


@played
async def test_stopping_does_not_wait_for_ever_for_somebody_who_could_end_it() -> None:
    asked = Containers()
    starting = asyncio.create_task(asked.start("web"))
    await asyncio.sleep(0)
    asked.told("web", 1, "running", "")
    container = await starting
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers, "STOP_S", 0.05)
        await container.stop()
    assert "nobody" in container.ended.result()
