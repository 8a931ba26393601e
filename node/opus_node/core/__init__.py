"""The overlay as pure state machines.

No clock, socket, thread, logger or global randomness lives here: `NodeCore.step(event, now)` is the one door
(`node.py`), `events.py` says what goes in and comes out, `messages.py` what nodes tell each other.
"""
