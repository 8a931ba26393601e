"""A plan in one process and virtual time. `runtime.SimRuntime` is the door; `docs` of each module say what it models."""

from opus_controller.runtimes.sim.costs import HopCost
from opus_controller.runtimes.sim.runtime import SimRuntime

__all__ = ["HopCost", "SimRuntime"]
