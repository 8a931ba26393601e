"""What this machine can do, looked at one by one: for `opus doctor`. Every check that fails names the command that mends it."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opus_controller.model.errors import PlatformError

HOSTS = 1000
"""Limits are judged for this many hosts."""


@dataclass(frozen=True)
class Finding:
    """`need` says for what; "real hosts" is what decides the exit code."""

    name: str
    verdict: Literal["ok", "poor", "missing"]
    """poor: it works, but not for large or exact runs."""
    found: str
    need: str
    mend: str = ""


def examine() -> list[Finding]:
    """All checks, in the order in which one would mend things."""
    return [check() for check in _CHECKS]


def root() -> Finding:
    if os.geteuid() == 0:
        return Finding("root", "ok", "running as root", "real hosts")
    return Finding("root", "missing", f"running as uid {os.geteuid()}", "real hosts", "sudo opus doctor")


def netns() -> Finding:
    from opus_controller.net import namespaces

    name = namespaces.wan_namespace(namespaces.new_run())
    try:
        namespaces.create([name])
        namespaces.delete(name)
    except (PlatformError, OSError) as error:
        mend = "run as root; in a container: docker run --privileged"
        return Finding("namespaces", "missing", str(error).partition(";")[0], "real hosts", mend)
    return Finding("namespaces", "ok", "network namespaces can be made", "real hosts")


def tun() -> Finding:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        mend = "modprobe tun; in a container: docker run --device /dev/net/tun"
        return Finding("tun", "missing", "no /dev/net/tun", "--links userspace", mend)
    except OSError as error:
        return Finding("tun", "missing", f"/dev/net/tun: {error.strerror}", "--links userspace", "run as root")
    return Finding("tun", "ok", "/dev/net/tun opens", "--links userspace")


def netem() -> Finding:
    from opus_controller.net.netem_probe import netem_available

    works, why = netem_available()
    if works:
        return Finding("netem", "ok", why, "--links netem")
    reason, _, mend = why.partition("; ")
    return Finding("netem", "missing", reason.partition(" (")[0], "--links netem", mend or "run as root")


def user_namespaces() -> Finding:
    most = _number("/proc/sys/user/max_user_namespaces")
    found = f"user.max_user_namespaces = {most}"
    if most:
        return Finding("userns", "ok", found, "rootless containers")
    return Finding("userns", "poor", found, "rootless containers", "sysctl -w user.max_user_namespaces=15000")


def open_files() -> Finding:
    """A host costs a few descriptors in the shaper and in the controller each; root may raise the hard limit up to nr_open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(hard, _number("/proc/sys/fs/nr_open")) if os.geteuid() == 0 else hard
    found = f"up to {most} open files"
    if most >= 8 * HOSTS:
        return Finding("nofile", "ok", found, f"{HOSTS} hosts")
    return Finding("nofile", "poor", found, f"{HOSTS} hosts", f"ulimit -Hn {16 * HOSTS}, or nofile in /etc/security/limits.conf")


def neighbours() -> Finding:
    """One table for the whole machine, all namespaces together: static entries do not count, what tools learn does."""
    most = _number("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
    found = f"net.ipv4.neigh.default.gc_thresh3 = {most}"
    if most >= 4 * HOSTS:
        return Finding("neighbours", "ok", found, f"{HOSTS} hosts, netem")
    mend = f"sysctl -w net.ipv4.neigh.default.gc_thresh3={8 * HOSTS} net.ipv4.neigh.default.gc_thresh2={4 * HOSTS}"
    return Finding("neighbours", "poor", found, f"{HOSTS} hosts, netem", mend)


def inotify() -> Finding:
    most = _number("/proc/sys/fs/inotify/max_user_instances")
    found = f"fs.inotify.max_user_instances = {most}"
    if most >= 512:
        return Finding("inotify", "ok", found, "many containers")
    return Finding("inotify", "poor", found, "many containers", "sysctl -w fs.inotify.max_user_instances=8192")


def cores() -> Finding:
    usable = len(os.sched_getaffinity(0))
    if usable >= 2:
        return Finding("cores", "ok", f"{usable} cores", "exact figures")
    return Finding(
        "cores", "poor", "1 core", "exact figures", "give the machine a second core: links and nodes compete otherwise"
    )


def memory() -> Finding:
    """10 MB a host, the links' and the controller's own."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) >> 10
    room = max(0, (available - 300) // 10)
    if room >= 200:
        return Finding("memory", "ok", f"{available} MiB available, room for about {room} hosts", "200 hosts")
    return Finding("memory", "poor", f"{available} MiB available, room for about {room} hosts", "200 hosts", "free some memory")


def cgroups() -> Finding:
    from opus_controller.runtimes.hosts.cgroups import find_mounts

    bases = find_mounts(Path("/proc/self/mountinfo").read_text()).bases()
    if bases and all(os.access(base, os.W_OK) for base in bases):
        return Finding("cgroups", "ok", ", ".join(map(str, bases)), "abilities enforced")
    found = "not writable" if bases else "no cpu and memory controllers are mounted"
    return Finding("cgroups", "poor", found, "abilities enforced", "run as root; in a container: docker run --privileged")


def tools() -> Finding:
    packages = {"ping": "iputils-ping", "iperf3": "iperf3", "tcpdump": "tcpdump"}
    lacking = [tool for tool in packages if shutil.which(tool) is None]
    if not lacking:
        return Finding("tools", "ok", ", ".join(packages), "opus exec")
    mend = f"apt-get install {' '.join(packages[tool] for tool in lacking)}"
    return Finding("tools", "poor", f"no {', '.join(lacking)}", "opus exec", mend)


def docker() -> Finding:
    from opus_controller.runtimes.docker.engine import Engine

    try:
        engine = Engine.find()
        engine.close()
    except PlatformError as error:
        found, _, mend = str(error).partition("; ")
        return Finding("docker", "missing", found, "--runtime docker", mend or "systemctl start docker")
    return Finding("docker", "ok", f"engine {engine.version} at {engine.url}", "--runtime docker")


def image() -> Finding:
    from opus_controller.runtimes.docker.engine import Engine
    from opus_controller.runtimes.docker.image import find_image

    try:
        engine = Engine.find()
    except PlatformError:
        return Finding("image", "missing", "no engine to have it", "--runtime docker", "make image")
    try:
        found = find_image(engine)
    except PlatformError as error:
        words, _, _ = str(error).partition("; ")
        return Finding("image", "missing", words, "--runtime docker", "make image")
    finally:
        engine.close()
    return Finding("image", "ok", f"{found.tag}, {found.size // 1_000_000} MB", "--runtime docker")


def real_hosts(findings: list[Finding]) -> bool:
    """Whether netns runs are possible: root, namespaces, and one of the two kinds of links."""
    fine = {finding.name for finding in findings if finding.verdict != "missing"}
    return {"root", "namespaces"} <= fine and bool({"tun", "netem"} & fine)


_CHECKS: tuple[Callable[[], Finding], ...] = (
    *(root, netns, tun, netem, cgroups, open_files, neighbours, inotify, user_namespaces, cores, memory, tools, docker, image),
)


def _number(path: str) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return 0
