"""What changes is followed: a host that dies slowly, a path that becomes another, better hosts that come."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from helpers.corenet import APP, SIX, SIX_RTT, CoreNet, sites, six_regions
from opus_node.core.types import MILLISECOND, SECOND, Abilities, AppConfig, NodeConfig

EVERY = SECOND // 20


def latency_ms(net: CoreNet, since: int, site: str) -> float:
    """Median time from a request to its reply, of the clients of one site."""
    nodes = [node for node in net.cores if node.startswith(f"{site}-")]
    done = net.outcomes(since, nodes)
    assert done
    assert all(one.outcome == "ok" for one in done)
    return median((one.done_at - one.issued_at) / MILLISECOND for one in done)


def test_a_host_that_dies_slowly_serves_no_more_before_it_is_dead() -> None:
    """Each second its answers come 4 ms later; it misses no beat."""
    net = six_regions()
    net.load(60 * SECOND, EVERY)
    dying = net.replicas()[0]
    site, began, healthy = dying.split("-")[0], net.now, net.delay
    before = latency_ms(net, began - 20 * SECOND, site)

    def delay(source: str, to: str) -> int:
        late = min(400 * MILLISECOND, (net.now - began) // 250)
        return healthy(source, to) + (late if dying in (source, to) else 0)

    net.delay = delay
    net.load(90 * SECOND, EVERY)
    assert dying not in net.replicas()
    assert len(net.replicas()) == 3
    others = [node for node in net.live() if node.startswith(f"{site}-") and node != dying]
    done = net.outcomes(net.now - 20 * SECOND, others)
    assert median((one.done_at - one.issued_at) / MILLISECOND for one in done) <= before + 20


def test_when_a_path_becomes_another_the_replica_moves_to_where_it_is_near() -> None:
    """All that is asked for comes from use, where nobody can serve: usw does, 62 ms away, and eu is 75 ms away."""
    weak = NodeConfig(apps=(AppConfig(APP, 1, memory=1 << 30),), abilities=Abilities(memory=1 << 28))
    able = replace(weak, abilities=Abilities(memory=1 << 30))
    configs = {f"{site}-{number}": able for site in SIX[1:] for number in range(1, 6)}
    net = six_regions(config=weak, configs=configs)
    clients = [f"use-{number}" for number in range(1, 6)]
    net.load(120 * SECOND, EVERY, clients)
    assert [node.split("-")[0] for node in net.replicas()] == ["usw"]
    net.delay = sites(SIX_RTT | {("use", "usw"): 300.0})
    net.load(60 * SECOND, EVERY, clients)
    assert [node.split("-")[0] for node in net.replicas()] == ["eu"]
    assert latency_ms(net, net.now - 15 * SECOND, "use") <= 80


def test_better_hosts_that_come_serve_where_they_are_needed() -> None:
    """Nobody in jp can serve until one comes that can."""
    app = AppConfig(APP, 3, memory=1 << 30)
    weak = NodeConfig(apps=(app,), abilities=Abilities(memory=1 << 28))
    able = replace(weak, abilities=Abilities(memory=1 << 30))
    configs = {f"{site}-{number}": able for site in ("use", "eu", "br") for number in (2, 3)} | {"jp-6": able}
    net = six_regions(config=weak, per_site=6, configs=configs)
    net.power_off("jp-6")
    net.load(60 * SECOND, EVERY)
    assert not any(node.startswith("jp-") for node in net.replicas())
    before = latency_ms(net, net.now - 20 * SECOND, "jp")
    net.boot("jp-6")
    jp = [node for node in net.live() if node.startswith("jp-")]
    net.load(60 * SECOND, EVERY, jp)
    assert "jp-6" in net.replicas()
    assert latency_ms(net, net.now - 15 * SECOND, "jp") < 0.2 * before
