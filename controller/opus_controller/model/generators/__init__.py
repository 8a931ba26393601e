"""Networks that nobody has measured, by models of such networks (`opus topology generate`, docs/topologies.md).

transit_stub.py  transit and stub domains, as GT-ITM makes them
regions.py       measured round trips between regions, and a last mile for each host
resample.py      a matrix made larger
provenance.py    what their files say of how they were made
"""
