"""What runtimes with real hosts on this machine share: a named network namespace a host, whoever its process is started by.

state.py       what a run leaves under /run/opus, so that any process finds it
runtime.py     `HostsRuntime`, the engine's Runtime but for the making of hosts
nodes.py       the hosts' nodes: boot, watch, ask, kill     control.py   the line to each of them
cgroups.py     abilities, enforced                          probes.py    fidelity, measured while the run goes on
processes.py   pids that cannot be mistaken                 clean.py     taking a run off the machine
hands.py       links changed by hand                        inside.py    a command inside a host
machine.py     this machine: processors, files, threads
"""
