"""The overlay's figures on a measured matrix, in virtual time: what `opus bench overlay` prints.

data.py         the matrix and the plans made of it     settings.py    what of the overlay is set, by the core's own names
lab.py          a simulated overlay to experiment on    forks.py       branches of its future, each a process
oracles.py      what full knowledge would reach         judge.py       requests held against it (DESIGN section 7)
statistics.py   estimates with 95% intervals            rows.py        the table
experiments.py  which worlds, which experiments         run.py         all of them, over the seeds
kept.py         figures kept on disk, to go on with

The experiments:
placing.py      placement and routing at rest           steady.py      table entries, control bytes, joins
silence.py      half of all hosts, a replica, no one    churn.py       everybody comes and goes
hotspot.py      demand moves to another region          stability.py   do the chosen live longer (membership alone)
deep.py         hierarchies of other depths
sizing.py       how many replicas a load needs
"""

from opus_controller.bench.overlay.experiments import FULL, QUICK
from opus_controller.bench.overlay.settings import Settings
from opus_controller.bench.overlay.table import Order, measure

__all__ = ["FULL", "QUICK", "Order", "Settings", "measure"]
