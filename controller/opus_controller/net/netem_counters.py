"""The kernel's counters of netem links, in the words of `links.LinkCounters`.

sent            received by the veth's end here, and what did not fit in the host's up queue
lost            dropped by the receiver's tree, less overflow: counted at the receiver (at the sender with userspace links)
overflow        packets that a qdisc of the tree refused (netem's limit): what mirred saw fail
queue_dropped   up queue of the host's eth0 and down queue of its veth's end
cut             dropped by the filters at its port
duplicated      what left an IFB for duplicates and was lost in it, less what went in
corrupted       0: the kernel does not count it
queued_bytes    what waits in those two queues (with Ethernet headers)
"""

from __future__ import annotations

from collections.abc import Mapping

from opus_controller.net import netem_port, tc_link, tc_qdisc
from opus_controller.net.links import LinkCounters
from opus_controller.net.netem_port import Port
from opus_controller.net.tc_link import LinkStats
from opus_controller.net.tc_netlink import Netlink
from opus_controller.net.tc_qdisc import ETHERNET_HEADER, ROOT, Qdisc, QueueStats

Qdiscs = Mapping[tuple[int, int], Qdisc]
"""By interface and parent."""
_NONE = QueueStats()


def read_counters(wan: Netlink, ports: Mapping[str, Port]) -> dict[str, LinkCounters]:
    """Of every attached host."""
    links = {found.index: found for found in map(tc_link.stats, wan.dump(tc_link.all_links()))}
    answers = wan.do(request for port in ports.values() for request in netem_port.counter_requests(port))
    qdiscs = {(found.index, found.parent): found for found in map(tc_qdisc.read_qdisc, answers)}
    drops, redirects = _actions(wan, "gact"), _actions(wan, "mirred")
    return {
        name: _of_host(port, links.get(port.wan), qdiscs, drops, redirects)
        for name, port in ports.items()
    }  # fmt: skip


def _actions(wan: Netlink, kind: str) -> dict[int, QueueStats]:
    return dict(found for answer in wan.dump(tc_qdisc.all_actions(kind)) for found in tc_qdisc.read_actions(answer))


def _of_host(
    port: Port, link: LinkStats | None, qdiscs: Qdiscs, drops: Mapping[int, QueueStats], redirects: Mapping[int, QueueStats]
) -> LinkCounters:
    link = link or LinkStats(port.wan, "", 0, 0, 0, 0, 0, 0)
    in_tree = _stats(qdiscs, port.delays, ROOT)
    overflow = redirects.get(port.number, _NONE).overlimits
    lost = in_tree.drops - overflow
    duplicated = 0
    reordered = 0
    for minor in port.boxes:
        box, entered = _stats(qdiscs, port.box(minor), ROOT), redirects.get(port.box_action(minor), _NONE)
        lost += box.drops - entered.overlimits
        overflow += entered.overlimits
        duplicated += max(0, box.packets + box.drops + box.queued - entered.packets)
        reordered += box.requeues
    reordered += sum(
        found.stats.requeues for (index, parent), found in qdiscs.items() if index == port.delays and parent != ROOT
    )  # fmt: skip
    up, down = netem_port.up_queue(port), _stats(qdiscs, port.wan, ROOT)
    return LinkCounters(
        sent=link.rx_packets + up.drops,
        received=link.tx_packets,
        sent_bytes=link.rx_bytes - ETHERNET_HEADER * link.rx_packets,
        received_bytes=link.tx_bytes - ETHERNET_HEADER * link.tx_packets,
        lost=max(0, lost),
        cut=drops.get(port.number, _NONE).drops,
        queue_dropped=up.drops + down.drops,
        overflow=overflow,
        duplicated=duplicated,
        reordered=reordered,
        queued_bytes=up.backlog + down.backlog,
    )


def _stats(qdiscs: Qdiscs, index: int, parent: int) -> QueueStats:
    found = qdiscs.get((index, parent))
    return found.stats if found else _NONE
