"""`opus bench scale`: how far the simulator goes on one machine: time and memory against the number of nodes.

Every node is a `NodeCore` and every lease a step of it; nothing stands in for nodes. `worlds` says who is where and who comes and
goes, `run` lives one such world, `table` several and how the figures grow, `picture` draws that.
"""
