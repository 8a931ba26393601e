"""Data that change: registers kept by an application's replicas, linearizable while the set of them changes.

    cells.py     what is kept and what is said: tags, cells, configurations, questions and answers
    holder.py    one replica's part: it holds cells and answers questions, nothing else
    quorum.py    one operation: asked of all, done when a majority has answered
    move.py      the steward's part: from one configuration to the next, sealed first, so that nothing acknowledged is lost

Sources: Attiya, Bar-Noy, Dolev, *Sharing memory robustly in message-passing systems* (1995); Lynch, Shvartsman, *RAMBO* (2002);
Lamport, *Paxos made simple* (2001), one instance a configuration, its members deciding which comes next.
"""
