"""The first process of the User-mode Linux guest: hostfs mounts and modules, then `guest_init`. Started by `helpers.uml`."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from helpers import guest_init
from helpers.guest_init import MS_RDONLY, Job, mount

_SYS_FINIT_MODULE = 313  # x86-64, the only machine that Debian's user-mode-linux is made for

MODULES = (
    "veth", "ifb", "tun", "sch_netem", "sch_htb", "sch_tbf", "sch_ingress", "cls_fw", "cls_u32", "cls_matchall",
    "act_gact", "act_mirred", "act_skbedit", "nft_compat", "ipv6",
)  # fmt: skip
"""Loaded when the kernel has them; what needs one that is missing says so itself."""


def prepare(job: Job, modules_directory: Path) -> None:
    guest_init.usual_mounts()
    for place in guest_init.hidden(job["visible"]):
        mount("none", place, "hostfs", MS_RDONLY, place)
    mount("none", job["shared"], "hostfs", 0, job["shared"])
    for name in MODULES:
        _load(modules_directory / os.uname().release, name, set())


def _load(directory: Path, name: str, seen: set[str]) -> None:
    """Load a module after those it needs; one that the kernel was not built with as a module is passed over."""
    depends = _dependencies(directory)
    if name in seen or name not in depends:
        return
    seen.add(name)
    path, needs = depends[name]
    for other in needs:
        _load(directory, other, seen)
    with open(path, "rb") as file:
        failed = guest_init.libc.syscall(_SYS_FINIT_MODULE, file.fileno(), b"", 0)
    if failed and ctypes.get_errno() != 17:  # EEXIST: loaded already
        print(f"uml: module {name}: {os.strerror(ctypes.get_errno())}", flush=True)


def _dependencies(directory: Path) -> dict[str, tuple[Path, list[str]]]:
    """From modules.dep: a module's name to its file and the names of those it needs, the deepest first."""
    found = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        found[_module_name(path)] = (directory / path, [_module_name(need) for need in reversed(needs.split())])
    return found


def _module_name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


if __name__ == "__main__":
    guest_init.main("uml", sys.argv[1], lambda job: prepare(job, Path(sys.argv[2])))
