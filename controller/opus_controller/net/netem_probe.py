"""Whether this machine's kernel has what netem links are made of, tried out in a namespace made for it."""

from __future__ import annotations

import errno

from opus_controller.model.errors import PlatformError
from opus_controller.net import namespaces, tc_link, tc_qdisc
from opus_controller.net.namespaces import run_inside
from opus_controller.net.netem_options import NetemOptions, encode
from opus_controller.net.tc_netlink import Netlink, NetlinkError, Request

MODULES = (
    "sch_netem",
    "sch_htb",
    "sch_tbf",
    "sch_ingress",
    "cls_fw",
    "cls_matchall",
    "act_gact",
    "act_mirred",
    "act_skbedit",
    "ifb",
)
_INDEX = 1000


def netem_available() -> tuple[bool, str]:
    """(whether it works, why not: one line with the command that mends it)."""
    name = namespaces.wan_namespace(namespaces.new_run())
    try:
        namespaces.create([name])
    except PlatformError as error:
        return False, str(error)
    try:
        return run_inside(namespaces.path_of(name), _try)
    finally:
        namespaces.delete(name)


def _try() -> tuple[bool, str]:
    netlink = Netlink()
    try:
        for module, request in _pieces():
            try:
                netlink.do([request])
            except NetlinkError as error:
                if error.errno in (errno.EPERM, errno.EACCES):
                    return False, f"not allowed to shape links ({error.strerror}); run as root"
                return False, lacking(module, error)
    finally:
        netlink.close()
    return True, "the kernel has sch_netem"


def lacking(module: str, error: NetlinkError) -> str:
    """One line about a missing piece."""
    return (
        f"the kernel has no {module} ({error.strerror}); load it with `modprobe -a {' '.join(MODULES)}`, or use --links userspace"
    )


def _pieces() -> list[tuple[str, Request]]:
    """Every kind of object the links use, in an order in which each can be made."""
    egress, one = tc_qdisc.EGRESS, 0x10000
    return [
        ("ifb", tc_link.add_ifb("probe", _INDEX, 1500, 32)),
        ("sch_htb", tc_qdisc.htb(_INDEX, one)),
        ("sch_htb", tc_qdisc.htb_class(_INDEX, one, 1)),
        ("sch_netem", tc_qdisc.qdisc(_INDEX, "netem", 0x20000, one | 1, encode(NetemOptions(delay_ns=1_000_000), 1))),
        ("cls_fw", tc_qdisc.mark_is_class(_INDEX, one, 20)),
        ("sch_ingress", tc_qdisc.clsact(_INDEX)),
        ("act_gact", tc_qdisc.match_mark(_INDEX, egress, 10, 1, 0xFF, tc_qdisc.drop(1))),
        ("act_skbedit", tc_qdisc.match_all(_INDEX, egress, 20, tc_qdisc.mark(1, 1, 1))),
        ("act_mirred", tc_qdisc.match_all(_INDEX, egress, 30, tc_qdisc.redirect(1, _INDEX))),
        ("sch_tbf", tc_qdisc.delete_qdisc(_INDEX)),
        ("sch_tbf", tc_qdisc.tbf(_INDEX, one, 1_000_000, 10_000, 3028)),
    ]
