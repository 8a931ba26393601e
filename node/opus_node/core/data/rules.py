"""What each mode of consistency asks of those who keep registers.

    mode           a read                     a write                    and if one of m is silent
    linearizable   a majority                 a majority, twice          all goes on
    write-all      any member, alone          all members                reads go on, writes wait until it is replaced
    primary        the primary, alone         a majority                 all goes on, or waits until the primary is replaced
    bounded        any member, alone          a majority, twice          all goes on; where the writes that a read may miss are
                                                                         counted, writes may have to wait as with write-all
    eventual       any replica, alone         any replica, alone         all goes on, on both sides of a cut (`eventual`)

The first three are linearizable. Who answers alone under them does so under a lease (`lease`), and only with a value that is
where it has to be already: what a write has left that was not acknowledged is brought there first, since another member could
otherwise answer with what was before. Under `bounded` whoever answers alone has asked a majority for all news not longer ago
than the bound.

Sources: linearizable: `quorum`. write-all: *read one, write all* (Bernstein, Hadzilacos, Goodman, 1987), reads and concurrent
writes as in Hermes (Katsarakis et al., 2020). primary: Alsberg, Day (1976); leases: Gray, Cheriton (1989). bounded: Yu, Vahdat,
*Design and evaluation of a conit-based continuous consistency model* (TACT, 2002): staleness, and numerical error by a share for
each writer, weights of one.
"""

from __future__ import annotations

from dataclasses import dataclass

from opus_node.core import types
from opus_node.core.types import SECOND, AppConfig, Nanos

LEASE: Nanos = 2 * SECOND
"""Where the mode does not say it."""


@dataclass(frozen=True, slots=True)
class Rule:
    lease: Nanos = 0
    """For so long one member alone answers reads, from when it asked a majority; 0: never."""
    exact: bool = False
    """What one member answers is what a majority would have: so it gives tags alone, too."""
    whole: bool = False
    """A write is done when all members hold it, not a majority."""
    led: bool = False
    """Only the primary begins operations."""
    missed: int = -1
    """So many acknowledged writes may be missing at a member, of all that the members have brought about; -1: any number."""

    @property
    def outlast(self) -> Nanos:
        """So long after a lease was confirmed it is over, by whatever clock. 0: nobody has to wait for that."""
        return self.lease * 5 // 4 if self.exact or self.missed >= 0 else 0

    @property
    def catches_up(self) -> bool:
        """Whether whoever answers alone has to ask for what others hold."""
        return self.lease > 0 and not self.exact


def rule_of(app: AppConfig) -> Rule:
    match app.consistency:
        case types.LINEARIZABLE:
            return Rule()
        case types.WRITE_ALL:
            return Rule(lease=LEASE, exact=True, whole=True)
        case types.PRIMARY:
            return Rule(lease=LEASE, exact=True, led=True)
        case types.BOUNDED:
            return Rule(lease=app.staleness * 9 // 10, missed=app.missed)  # its clock may be slow by a tenth
        case _:
            raise ValueError(f"{app.consistency}: not kept by configurations")
