"""Containers of a real engine, wired and shaped with netem by the code that runs use; judged by `ping` from inside them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fidelity.live import network_of
from helpers.guest_engine import docker
from helpers.pings import Pings, parse, plausible_losses
from opus_controller.model.network import Network
from opus_controller.model.shapes import AccessLink, PathShape
from opus_controller.net import namespaces
from opus_controller.net.netem import NetemLinks

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]

MS = 1_000_000
SLACK_MS = 15.0
"""What an emulated kernel on a busy machine may add to the quickest round trip."""
LOSS = 0.1
HOSTS = ("a", "b", "c")


def network() -> Network:
    """Round trips of 40 ms (a, b) and 120 ms (a, c), where a tenth is lost on the way there."""
    near, far = PathShape(delay_ns=20 * MS), PathShape(delay_ns=60 * MS)
    paths = {("a", "b"): near, ("b", "a"): near, ("a", "c"): far.model_copy(update={"loss": LOSS}), ("c", "a"): far}
    return network_of({name: AccessLink() for name in HOSTS}, paths)


@pytest.fixture(scope="module")
def image(engine: None) -> str:
    """busybox alone."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
    docker("import", "-", "busybox", given=archive.getvalue())
    return "busybox"


@pytest.fixture(scope="module")
def links(image: str) -> Iterator[NetemLinks]:
    """Three containers without a network of the engine's, wired by us."""
    links = NetemLinks(namespaces.new_run(), seed=1)
    try:
        links.apply(network())
        for name in HOSTS:
            docker("run", "--detach", "--network=none", f"--name=host-{name}", image, "/bin/busybox", "sleep", "3600")
            pid = docker("inspect", "--format={{.State.Pid}}", f"host-{name}")
            links.attach(name, Path(f"/proc/{pid}/ns/net"))
        yield links
    finally:
        links.close()
        docker("rm", "--force", *(f"host-{name}" for name in HOSTS))


def ping(source: str, target: str, count: int, every_s: float = 0.05) -> Pings:
    address = next(host.address for host in network().hosts if host.name == target)
    command = ["docker", "exec", f"host-{source}", "/bin/busybox", "ping", f"-c{count}", f"-i{every_s}", "-W2", address]
    pings = parse(subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout)
    print(f"{source} to {target}: {pings.sent} sent, {pings.lost} lost, {pings.least_ms} {pings.median_ms} ms")
    return pings


def test_ping_in_a_container_shows_the_round_trip_and_the_loss(links: NetemLinks) -> None:
    near = ping("a", "b", 20)
    assert near.lost == 0
    assert 40 <= near.least_ms < 40 + SLACK_MS
    far = ping("a", "c", 400)
    assert 120 <= far.least_ms < 120 + SLACK_MS
    fewest, most = plausible_losses(far.sent, LOSS)
    assert 0 < fewest <= far.lost <= most


def test_a_link_changed_while_they_run_is_in_force(links: NetemLinks) -> None:
    slower = PathShape(delay_ns=90 * MS)
    links.apply(replace(network(), host_overrides={("b", "a"): slower}))
    assert 110 <= ping("a", "b", 20).least_ms < 110 + SLACK_MS
    wan = namespaces.wan_namespace(links.facts["namespace"].split("-")[1].split(".")[0])
    shown = subprocess.run(["ip", "netns", "exec", wan, "tc", "-json", "qdisc"], capture_output=True, text=True, check=True)
    delays = {round(q["options"]["delay"]["delay"] * 1000) for q in json.loads(shown.stdout) if q["kind"] == "netem"}
    assert {20, 60, 90} <= delays
