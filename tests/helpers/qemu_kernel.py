"""Debian's kernel for the QEMU guest: fetched from the package, unpacked beside the checkout, never installed.

It lies in build/linux/VERSION (`make clean` removes it): /boot/vmlinuz-* and those of its modules that a machine without
hardware needs, with depmod's index. The cloud flavour would not do: it lacks 9p.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from helpers.guest import SHARED

CACHE = SHARED / "linux"
PACKAGE = "linux-image-amd64"
"""Depends on the newest of the release."""
FETCH_S = 300
BOOT_MODULES = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "overlay")
"""What it takes to reach the host's files; whatever comes later is loaded on demand from there."""
_KEPT = (
    "./boot/vmlinuz-*", "./lib/modules/*/modules.*",
    *(f"./lib/modules/*/kernel/{part}" for part in ("arch", "block", "crypto", "fs", "lib", "net")),
    "./lib/modules/*/kernel/drivers/block", "./lib/modules/*/kernel/drivers/virtio",
    "./lib/modules/*/kernel/drivers/net/*.ko",
)  # fmt: skip


class NoKernelError(Exception):
    """It can be fetched neither from the cache nor from the package archive; one line."""


@dataclass(frozen=True)
class Kernel:
    image: Path
    modules: Path
    """As /lib/modules."""
    version: str


def kernel() -> Kernel:
    """The newest in the cache; fetched if there is none (70 MB). NoKernelError if that fails."""
    found = [each for each in CACHE.glob("*") if not each.name.startswith(".")]
    if found:
        return _in(max(found, key=lambda each: [int(part) for part in re.findall(r"\d+", each.name)]))
    return _in(_fetch())


def _in(place: Path) -> Kernel:
    (image,) = place.glob("boot/vmlinuz-*")
    return Kernel(image, place / "lib" / "modules", image.name.removeprefix("vmlinuz-"))


def _fetch() -> Path:
    """Into a directory that gets its name when it is complete."""
    depends = _output(["apt-cache", "depends", PACKAGE])
    names = re.findall(r"Depends: (linux-image-(\S+))", depends)
    if not names:
        raise NoKernelError(f"apt knows no {PACKAGE}: apt-get update")
    package, version = names[0]
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=CACHE) as place:
        _output(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=Path(place))
        archives = list(Path(place).glob("*.deb"))
        tree = Path(place, "tree")
        tree.mkdir()
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archives[0])], stdout=subprocess.PIPE) as unpacked:
            subprocess.run(["tar", "-x", "-C", str(tree), "--wildcards", *_KEPT], stdin=unpacked.stdout, check=True)
        _output(["depmod", "-b", str(tree), version])
        return tree.rename(CACHE / version)


def _output(command: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=FETCH_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoKernelError(f"no kernel for the guest: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise NoKernelError(f"no kernel for the guest: {command[0]}: {said}; perhaps: apt-get update")
    return done.stdout


INIT = """\
#!/bin/busybox sh
# Finds the host's files (9p, read-only, under a tmpfs overlay) and goes on there. Written by helpers.qemu_kernel.
busybox=/bin/busybox
stop() { echo "qemu: $1"; $busybox poweroff -f; }
$busybox mount -t proc proc /proc
$busybox mount -t devtmpfs dev /dev
for module in /modules/*; do $busybox insmod "$module" || stop "no module $module"; done
options=ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose
$busybox mount -t 9p -o $options root /host || stop "the host's files cannot be mounted"
$busybox mount -t tmpfs tmpfs /over
$busybox mkdir -p /over/upper/.host /over/work
$busybox mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /new || stop "no overlay"
$busybox mount --move /host /new/.host
$busybox mount --move /dev /new/dev
$busybox mount --move /proc /new/proc
exec $busybox switch_root /new "$@"
"""


def write_initrd(kernel: Kernel, path: Path) -> None:
    """busybox, the modules in the order they are to be loaded in, and `INIT`, which runs its arguments in the end."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        root = Path(place)
        for name in ("bin", "modules", "proc", "dev", "host", "over", "new"):
            (root / name).mkdir()
        shutil.copy(busybox, root / "bin" / "busybox")
        for number, module in enumerate(_in_order(kernel, BOOT_MODULES)):
            shutil.copy(module, root / "modules" / f"{number:02d}-{module.name}")
        (root / "init").write_text(INIT)
        (root / "init").chmod(0o755)
        names = "\n".join(str(each.relative_to(root)) for each in [root, *sorted(root.rglob("*"))])
        with path.open("wb") as archive:
            subprocess.run(
                [busybox, "cpio", "-o", "-H", "newc"], input=names.encode(), stdout=archive, stderr=subprocess.DEVNULL,
                cwd=root, check=True,
            )  # fmt: skip


def _in_order(kernel: Kernel, names: Iterable[str]) -> list[Path]:
    """The modules' files, each after those it needs."""
    directory = kernel.modules / kernel.version
    needs = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[Path(path).stem.replace("-", "_")] = [path, *others.split()]
    ordered: dict[str, None] = {}
    for name in names:
        ordered |= dict.fromkeys(reversed(needs[name]))
    return [directory / path for path in ordered]
