"""What is left of sharded data when hosts fail for good, by copies and by placement (`opus bench survival`).

places.py   where hosts are, which fail together, who is a member
losses.py   the share of shards of which every copy is gone
played.py   the same in a run of the simulator, key by key
table.py    the rows
"""
