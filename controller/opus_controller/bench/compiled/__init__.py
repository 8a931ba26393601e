"""The core and the simulator compiled ahead of time by mypyc, beside the interpreted ones and only where asked for.

`rewrite` makes of our sources what mypyc compiles well, `build` has it built below build/compiled and kept as long as the sources
are the same. `scripts/compile.py` builds without running anything.
"""
