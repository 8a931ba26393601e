"""What dissemination among replicas reaches: what `opus bench spread` prints.

instances.py    who the members are, a file beside it      world.py    them and their paths, in virtual time
ideals.py       minimum spanning tree, shortest paths      table.py    the experiments and the rows
"""
