"""The docker runtime: a container a host, its network wired in from outside (DESIGN section 6).

engine.py      finding the engine, and every word spoken with it
image.py       the node's image: which one, and whether it is there
build.py       making that image, and a base where no registry is
container.py   what a host's container may do and use
runtime.py     `DockerRuntime`, the engine's Runtime
watch.py       the container engine's events
keeper.py      the process that watches a testbed that stays up (__main__.py)
clean.py       containers of runs that are gone
"""

from opus_controller.runtimes.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
