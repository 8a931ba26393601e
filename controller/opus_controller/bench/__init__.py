"""Speed and size of Opus itself, measured on this machine: what `opus bench` prints.

worlds.py   the plans that are measured      hosts.py   real hosts: start, memory
hop.py      what a hop costs                 sim.py     the simulator's speed
links.py    the userspace links and what they carry
agree.py    real hosts against the simulator, by agreement.py
"""
