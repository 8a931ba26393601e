"""What the soaks judge leaks by: figures of soaks that leaked nothing pass, and each kind of leak is found in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest
from helpers.usage import Usage, piled_up


def usage(
    namespaces: int, nodes: int, pss_mb: float, descriptors: tuple[int, int, int], memory_mb: tuple[int, int, int]
) -> Usage:
    names = ("controller", "zygote", "shaper")
    return Usage(
        namespaces,
        nodes,
        pss_mb,
        dict(zip(names, descriptors, strict=True)),
        {name: float(mb) for name, mb in zip(names, memory_mb, strict=True)},
    )


HUNDRED = [
    usage(100, 86, 947, (121, 9, 207), (128, 47, 21)),
    usage(100, 78, 903, (113, 9, 207), (130, 47, 22)),
    usage(100, 87, 1013, (122, 9, 207), (131, 47, 23)),
    usage(100, 77, 914, (112, 9, 207), (134, 47, 23)),
]
"""Hosts of netns under churn for ten minutes, as `make soak` printed it."""
CONTAINERS = [
    usage(30, 42, 575, (81, 0, 51), (124, 0, 18)),
    usage(30, 36, 501, (78, 0, 51), (125, 0, 18)),
    usage(30, 54, 740, (87, 0, 67), (126, 0, 18)),
    usage(30, 50, 690, (85, 0, 67), (127, 0, 19)),
]


def test_hosts_that_come_and_go_pile_nothing_up() -> None:
    assert piled_up(HUNDRED, hosts=100, processes=1, minutes=10) == []
    assert piled_up(CONTAINERS, hosts=30, processes=2, minutes=5) == []


N = TypeVar("N", int, float)


def of(used: dict[str, N], name: str, more: int) -> dict[str, N]:
    return {**used, name: used[name] + more}


LAST = HUNDRED[-1]
RETURNS = 100
"""In these ten minutes: what leaks once at each of them."""


@pytest.mark.parametrize(
    ("leak", "told"),
    [
        (replace(LAST, namespaces=101), "namespaces: 101"),
        (replace(LAST, nodes=LAST.nodes + RETURNS), "processes of hosts: 177"),
        (replace(LAST, descriptors=of(LAST.descriptors, "controller", RETURNS)), "descriptors of the controller"),
        (replace(LAST, descriptors=of(LAST.descriptors, "zygote", RETURNS)), "descriptors of the zygote"),
        (replace(LAST, descriptors=of(LAST.descriptors, "shaper", RETURNS)), "descriptors of the shaper"),
        (replace(LAST, node_pss_mb=LAST.node_pss_mb * 1.5), "MB of a process"),
        (replace(LAST, memory_mb=of(LAST.memory_mb, "controller", RETURNS)), "MB of the controller"),
        (replace(LAST, memory_mb=of(LAST.memory_mb, "shaper", RETURNS)), "MB of the shaper"),
    ],
)
def test_what_leaks_at_each_return_is_found(leak: Usage, told: str) -> None:
    (found,) = piled_up([*HUNDRED, leak], hosts=100, processes=1, minutes=10)
    assert found.startswith(told)


def test_a_quarter_of_the_descriptors_leaked_is_found_though_fewer_hosts_are_up() -> None:
    """Those of a stream for each: the total alone would hide them."""
    leak = replace(
        LAST, nodes=60, node_pss_mb=710.0, descriptors=of(LAST.descriptors, "controller", 60 - LAST.nodes + RETURNS // 4)
    )
    assert leak.descriptors["controller"] < 1.1 * HUNDRED[0].descriptors["controller"]
    (found,) = piled_up([*HUNDRED, leak], hosts=100, processes=1, minutes=10)
    assert found.startswith("descriptors of the controller")
