"""What dividing hosts among applications by utility reaches: what `opus bench utility` prints.

instances.py    the pools and applications, files beside it     exact.py     their exact optimum
measured.py     what stewards would know of them                shares.py    static shares, for comparison
table.py        the rows
"""
