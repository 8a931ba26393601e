"""Data that change: registers kept by an application's replicas, linearizable while the set of them changes.

    eventual.py  where any replica answers alone; sharded.py, where each holds a part of the keys only

    rules.py     the modes: who has to answer for a read, and for a write
    cells.py     what is kept and what is said: tags, cells, configurations, questions and answers
    holder.py    one replica's part: it holds cells and answers questions, nothing else
    lease.py     leave to answer alone
    fetch.py     a new member gets what the last ones hold
    quorum.py    one operation, done when those have answered who have to
    move.py      the steward's part: from one configuration to the next, sealed first, so that nothing acknowledged is lost

Sources: Attiya, Bar-Noy, Dolev, *Sharing memory robustly in message-passing systems* (1995); Lynch, Shvartsman, *RAMBO* (2002);
Lamport, *Paxos made simple* (2001), one instance a configuration, its members deciding which comes next.
"""
