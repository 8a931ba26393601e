"""The QEMU guest's first process once its initrd has found the host's files: mounts, then `guest_init`.

Started by `helpers.qemu`. The root is the host's with a tmpfs over it; the host's alone is at /.host.
"""

from __future__ import annotations

import os
import sys

from helpers import guest_init
from helpers.guest_init import MS_BIND, Job, mount

DISK = "/dev/vda"
"""If it has one: `helpers.qemu_disk`."""
ENGINE_DATA = "/var/lib/docker"
_BUILD = "trans=virtio,version=9p2000.L,msize=1048576"


def prepare(job: Job, modules: str) -> None:
    guest_init.usual_mounts()
    for place in guest_init.hidden(job["visible"]):
        mount(f"/.host{place}", place, "", MS_BIND)
    mount("build", job["shared"], "9p", 0, _BUILD)
    os.makedirs("/lib/modules", exist_ok=True)
    mount(f"/.host{modules}", "/lib/modules", "", MS_BIND)  # modprobe and the kernel itself load what is asked for
    if os.path.exists(DISK):
        os.makedirs(ENGINE_DATA)
        mount(DISK, ENGINE_DATA, "ext4")


if __name__ == "__main__":
    guest_init.main("qemu", sys.argv[1], lambda job: prepare(job, sys.argv[2]))
