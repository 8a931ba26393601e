"""The netns runtime: a process and a network namespace a host, no container engine (DESIGN section 6).

runtime.py   `NetnsRuntime`, the engine's Runtime     zygote.py   the process that forks the nodes
"""

from opus_controller.runtimes.netns.runtime import NetnsRuntime

__all__ = ["NetnsRuntime"]
