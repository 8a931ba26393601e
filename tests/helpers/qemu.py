"""Runs a command under a whole Debian kernel, with netem and all that Docker needs: QEMU without hardware help.

    python -m helpers.qemu [--limit SECONDS] -- COMMAND...          (or tests/qemu/in-qemu COMMAND...)

What the guest sees and which exit codes there are: `helpers.guest`. Writes elsewhere than in build/ are the guest's own and
vanish. No network, no kvm, no privileges beyond reading the host's files. About a tenth of the machine's speed on two cores;
up in five seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from helpers.guest import SHARED, TESTS, Kind, Machine
from helpers.qemu_disk import DISK
from helpers.qemu_kernel import NoKernelError, kernel, write_initrd

MEMORY_MB = 2560
CORES = 2
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod", "apt-get": "apt",
    "dockerd": "docker.io", "containerd": "containerd", "runc": "runc", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs",
    "tc": "iproute2", "ping": "iputils-ping",
}  # fmt: skip
"""What must be on PATH, and the package that brings it."""
CPU = "Nehalem"
"""Has what numpy asks for, and no AVX: the C library would use it, and emulated it is slow."""


def lacks() -> str:
    """Why it cannot run here; empty if it can. Fetches the kernel if that is all that is missing."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        packages = " ".join(sorted({PROGRAMS[program] for program in missing}))
        return f"{' and '.join(missing)} missing: apt-get install --no-install-recommends {packages}"
    if os.geteuid() != 0:
        return "the guest reads the host's files as this user, and tests in it want to be root: run as root"
    try:
        kernel()
    except NoKernelError as error:
        return str(error)
    return ""


def machine(job: Path, place: Path) -> Machine:
    """QEMU, its serial line on standard output, the host's files as two 9p shares; first process: `qemu_init`."""
    linux = kernel()
    initrd = place / "initrd"
    write_initrd(linux, initrd)
    init = ["/usr/bin/env", f"PYTHONPATH={TESTS}", sys.executable, "-m", "helpers.qemu_init", str(job), str(linux.modules)]
    append = [
        "console=ttyS0", "quiet", "loglevel=3", "panic=-1", "mitigations=off", "audit=0", "apparmor=0", "no_timer_check",
        "random.trust_cpu=on", "rcupdate.rcu_expedited=1", "--", *init,
    ]  # fmt: skip
    shares = {"root": ("/", "readonly=on,"), "build": (str(SHARED), "")}
    command = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(CORES), "-m", f"{MEMORY_MB}M",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
        "-kernel", str(linux.image), "-initrd", str(initrd), "-append", " ".join(append),
    ]  # fmt: skip
    for tag, (path, option) in shares.items():
        command += ["-virtfs", f"local,path={path},mount_tag={tag},{option}security_model=passthrough,multidevs=remap"]
    if DISK.exists():
        command += ["-drive", f"file={DISK},format=raw,if=virtio,snapshot=on"]
    return Machine(command, {"PATH": os.environ.get("PATH", os.defpath)})


QEMU = Kind("qemu", "QEMU", lacks, machine, limit_s=900.0)

if __name__ == "__main__":
    sys.exit(QEMU.main(sys.argv[1:]))
