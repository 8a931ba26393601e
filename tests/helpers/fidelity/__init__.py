"""Measures what links do to packets and judges it: used by tests/fidelity on both kinds of links."""
