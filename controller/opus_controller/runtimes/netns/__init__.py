"""The netns runtime: a process and a network namespace a host, no container engine (DESIGN section 6).

state.py       what a run leaves under /run/opus, so that any process finds it
runtime.py     `NetnsRuntime`, the engine's Runtime
nodes.py       the hosts' processes: spawn, boot, watch, ask, kill
zygote.py      the process that forks them           control.py   the line to each of them
cgroups.py     abilities, enforced                    probes.py    fidelity, measured while the run goes on
processes.py   pids that cannot be mistaken           clean.py     taking a run off the machine
"""

from opus_controller.runtimes.netns.runtime import NetnsRuntime

__all__ = ["NetnsRuntime"]
