"""`model.network.Network` in the compact form that the shaper takes (`userspace_network` says which)."""

from __future__ import annotations

from typing import Any

from opus_controller.model.network import Network
from opus_controller.model.shapes import AccessLink, PathShape


def base(network: Network) -> dict[str, Any]:
    """The topology: hosts, access links and paths."""
    sites = {name: i for i, name in enumerate(network.sites)}
    access: dict[AccessLink, int] = {}
    hosts = [[h.name, h.address, sites[h.site], access.setdefault(h.access, len(access))] for h in network.hosts]
    return {
        "sites": network.sites,
        "hosts": hosts,
        "access": [_access(link) for link in access],
        "shapes": [_shape(shape) for shape in network.paths.shapes],
        "index": network.paths.index,
    }


def over(network: Network) -> dict[str, Any]:
    """What faults have laid over the topology."""
    return {
        "site_shapes": [[a, b, _shape(shape)] for (a, b), shape in network.overrides.items()],
        "host_shapes": [[a, b, _shape(shape)] for (a, b), shape in network.host_overrides.items()],
        "cuts": [[sorted(cut.sources), sorted(cut.targets)] for cut in network.cuts],
        "down": sorted(network.down),
    }


def _access(link: AccessLink) -> list[int | float | None]:
    up, down = link.up, link.down
    return [link.delay_ns, link.loss, up.rate_bps, up.queue_bytes, down.rate_bps, down.queue_bytes]


def _shape(shape: PathShape) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "delay": shape.delay_ns,
        "jitter": shape.jitter_ns,
        "distribution": shape.distribution,
        "keep_order": shape.keep_order,
        "loss": shape.loss,
        "duplicate": shape.duplicate,
        "reorder": shape.reorder,
        "corrupt": shape.corrupt,
    }
    if shape.burst is not None:
        fields["burst"] = [shape.burst.p, shape.burst.r, shape.burst.loss_bad, shape.burst.loss_good]
    return {name: value for name, value in fields.items() if value}
