"""Other people's networks as topologies (`opus topology import`, docs/topologies.md).

table.py       which reader reads what, and how a file's kind is told
network.py     what readers return: a matrix of round trips, or cables
csv_matrix.py  a square CSV table of round trips, with or without names
numpy_file.py  the same as a NumPy array
king.py        the King data set's matrix, p2psim's topology files
pairs.py       a CSV line for each pair: CloudPing
pings.py       WonderNetwork's pings and servers
zoo.py         the Internet Topology Zoo's maps, GraphML and GML
brite.py       what the generator BRITE writes
"""
